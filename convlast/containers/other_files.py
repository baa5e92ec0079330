"""What a file is that is no checkpoint, told from its first bytes."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from convlast.checkpoints.guard.zip_directory import member_names

SEND_A_CHECKPOINT = "Send what torch.save or safetensors wrote."

MERGE_DISTRIBUTED = (
    "Make one file of the whole folder where it came from: "
    "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt"
)
"""What to do with a checkpoint of torch.distributed.checkpoint."""

_TAR_BLOCK_BYTES = 512
_GZIP = b"\x1f\x8b"

OtherKind: TypeAlias = Literal["pointer", "archive", "compressed", "store", "data"]
"""A text that stands for a file which is elsewhere; a pack of files; one file, compressed; a
checkpoint that belongs to a store; anything else."""


class OtherFile(NamedTuple):
    """A kind of file that is no checkpoint.

    Attributes:
        words: What it is, to follow "it is".
        kind: What may be in it.
        remedy: What to do to get a checkpoint.
    """

    words: str
    kind: OtherKind = "data"
    remedy: str = SEND_A_CHECKPOINT


_UNPACK = "Unpack it, and convert the model's folder or file that was in it."
_PACK = "Pack it anew, with the model's files in it."
_JOIN = "Join the parts (zip -s 0 PART.zip --out WHOLE.zip), and send the whole."
_GIT_LFS = OtherFile(
    "a Git LFS pointer, and not the file itself",
    "pointer",
    "Fetch the file itself: git lfs pull in the clone, or download it from where the clone is of.",
)
_GIT_ANNEX = OtherFile(
    "a pointer of git-annex, and not the file itself",
    "pointer",
    "Fetch the file itself: git annex get in the clone.",
)
_XET = OtherFile(
    "a pointer of Xet, and not the file itself",
    "pointer",
    "Fetch the file itself: git xet pull in the clone, or download it from where the clone is of.",
)
DVC_NOTE = OtherFile(
    "a note of DVC, and not the file itself",
    "pointer",
    "Fetch the file itself: dvc pull in the clone.",
)

PICKLE = OtherFile("a pickle, but not one of torch.save's")
_DISTRIBUTED = OtherFile(
    "the .metadata of a distributed checkpoint (torch.distributed.checkpoint)",
    remedy=MERGE_DISTRIBUTED,
)
APPLE_DOUBLE = OtherFile("a note of macOS about another file (._ or __MACOSX)")
"""What macOS adds to archives, and on other file systems, for each file.

Source: https://www.rfc-editor.org/rfc/rfc1740, appendix A
"""

_JSON = OtherFile("JSON text")
_PAGE = OtherFile("an XML or HTML page, perhaps an error page that was saved in its place")

_BY_MAGIC = {
    b"version https://git-lfs.github.com/spec/": _GIT_LFS,
    b"version https://hawser.github.com/spec/": _GIT_LFS,
    b"# xet version ": _XET,
    b"\x89HDF\r\n\x1a\n": OtherFile("an HDF5 file (Keras?)"),
    b"\x93NUMPY": OtherFile("a NumPy array"),
    _GZIP: OtherFile("gzip-compressed", "compressed", _UNPACK),
    b"BZh": OtherFile("bzip2-compressed", "compressed", _UNPACK),
    b"7z\xbc\xaf": OtherFile("a 7z archive", "archive", _UNPACK),
    b"Rar!\x1a\x07": OtherFile("a RAR archive", "archive", _UNPACK),
    b"GGUF": OtherFile("a GGUF file"),
    b"\x28\xb5\x2f\xfd": OtherFile("zstd-compressed", "compressed", _UNPACK),
    b"\xfd7zXZ": OtherFile("xz-compressed", "compressed", _UNPACK),
    b"\x04\x22\x4d\x18": OtherFile("lz4-compressed", "compressed", _UNPACK),
    b"\x1f\x9d": OtherFile("compressed by compress (.Z)", "compressed", _UNPACK),
    b"PK\5\6": OtherFile("an empty zip archive", "archive", _PACK),
    b"PK\7\x08": OtherFile("one part of a split zip archive", "archive", _JOIN),
    b"\0\5\x16\7": APPLE_DOUBLE,
    b"\x0c\xdb\x3a\x2a": OtherFile("a file of OCDBT, as Orbax writes them for JAX"),
    b"model_checkpoint_path: ": OtherFile("a note of a TensorFlow checkpoint"),
    b"\x08\1\x12": OtherFile("perhaps a SavedModel of TensorFlow"),
    b"\x7fELF": OtherFile("a compiled library or program"),
    b"{": _JSON,
    b"<": _PAGE,
    b"\x04\x00\x00\x00\x01\x00\x00\x00": OtherFile(
        "a Lua Torch file (.t7), which PyTorch cannot read"
    ),
    b"\x08": OtherFile("perhaps an ONNX model"),
}

_ANNEX_KEY = re.compile(rb"(?:\.\./){0,32}(?:\.git)?/annex/objects/")
"""The text of an unlocked file whose content is elsewhere, or of a link on a system without links.

Source: https://git-annex.branchable.com/internals/pointer_file/
"""

_DVC_NOTE = re.compile(rb"(?:md5: [0-9a-f]{32}\s+)?outs:\s+- (?:md5|hash|etag|size|path): ")
"""Source: https://doc.dvc.org/user-guide/project-structure/dvc-files"""

_PROTOCOLS = {b"\2", b"\3", b"\4", b"\5"}

_EMPTY = OtherFile(
    "empty", remedy="Fetch it anew from where it came: the download or the copy did not begin."
)
_ZIP = OtherFile("a zip archive", "archive", _UNPACK)
_TAR = OtherFile("a tar archive", "archive", _UNPACK)
_LATE_ZIP = OtherFile("a zip archive with other bytes before it", "archive", _UNPACK)
_ARRAYS = OtherFile("an archive of NumPy's arrays (.npz)")
_KERAS = OtherFile("a Keras model (.keras)")
_SERVED = OtherFile("a TorchServe archive (.mar)", "archive", _UNPACK)
_UNKNOWN = OtherFile("of no format known here, judging by its first bytes")

UNTELLING = {_JSON, _PAGE, _EMPTY, _UNKNOWN, APPLE_DOUBLE}
"""What any folder may hold beside a model, whatever else it is."""


def other_file(head: bytes) -> OtherFile:
    """Return what a file with this beginning is, given that it is no checkpoint."""
    if not head:
        return _EMPTY
    if is_tar(head):
        return _TAR
    if _ANNEX_KEY.match(head):
        return _GIT_ANNEX
    if _DVC_NOTE.match(head):
        return DVC_NOTE
    if head[:1] == b"\x80" and head[1:2] in _PROTOCOLS:
        return _DISTRIBUTED if b"torch.distributed.checkpoint.metadata" in head else PICKLE
    found = (kind for magic, kind in _BY_MAGIC.items() if head.startswith(magic))
    return next(found, _UNKNOWN)


def with_its_end(kind: OtherFile, path: Path) -> OtherFile:
    """Return the kind of a file; the end may tell if the first bytes do not."""
    return _LATE_ZIP if kind == _UNKNOWN and zipfile.is_zipfile(path) else kind


def other_zip(path: Path) -> OtherFile:
    """Return what a zip is, given that it is no checkpoint.

    Raises:
        MalformedCheckpointError: If it has no readable directory.
    """
    names = member_names(path)
    if "model.weights.h5" in names:
        return _KERAS
    if "MAR-INF/MANIFEST.json" in names:
        return _SERVED
    return _ARRAYS if names and all(name.endswith(".npy") for name in names) else _ZIP


def is_tar(head: bytes) -> bool:
    """Return whether a file with this beginning is a tar archive, perhaps compressed by gzip."""
    if head.startswith(_GZIP):
        head = _gunzipped(head)
    return head[257:262] == b"ustar"


def _gunzipped(head: bytes) -> bytes:
    """Return the first bytes of compressed data, or nothing if it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _TAR_BLOCK_BYTES)
    except zlib.error:
        return b""
