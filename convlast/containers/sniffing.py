"""What kind of file this is, told from its bytes and never from its name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from convlast.checkpoints.guard.zip_directory import member_names
from convlast.containers.container import ZIP_MAGIC
from convlast.containers.kinds import CONTAINERS
from convlast.errors import MalformedCheckpointError, NotACheckpointError

FolderKind: TypeAlias = Literal["folder", "zip-folder", "tar-folder", "sharded"]
"""What holds several files: a folder, an archive of one, an index with the shards it names."""

FOLDERS: frozenset[str] = frozenset(get_args(FolderKind))

HEAD_BYTES = 4096
"""How many bytes of a file `begins_like_a_checkpoint` and `begins_like_an_index` look at."""

_LOCAL_HEADER_BYTES = 30
_TAR_BLOCK_BYTES = 512
_GZIP = b"\x1f\x8b"

_OTHERS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (Keras?)",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "gzip-compressed",
    b"BZh": "bzip2-compressed",
    b"7z\xbc\xaf": "a 7z archive",
    b"GGUF": "a GGUF file",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"\xfd7zXZ": "xz-compressed",
    b"{": "JSON text",
    b"<": "an XML or HTML page, perhaps an error page that was saved in its place",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with git lfs pull",
    b"\x04\x00\x00\x00\x01\x00\x00\x00": "a Lua Torch file (.t7), which PyTorch cannot read",
    b"\x80": "a pickle, but not one of torch.save's",
    b"\x08": "perhaps an ONNX model",
}


def container_of(path: Path) -> str:
    """Return the name of the container that a file is, or the `FolderKind`.

    Raises:
        NotACheckpointError: If it is none.
        MalformedCheckpointError: If it begins like one and then ends, or has a broken directory.
    """
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(ZIP_MAGIC):
        return _kind_of_zip(path)
    for name, container in CONTAINERS.items():
        if container.begins(head):
            return name
    if _is_tar(_gunzipped(head) if head.startswith(_GZIP) else head):
        return "tar-folder"
    if begins_like_an_index(head):
        return "sharded"
    magics = (magic for container in CONTAINERS.values() for magic in container.magics)
    if head and any(magic.startswith(head) for magic in magics):
        raise MalformedCheckpointError(f"The file ends after {len(head)} bytes.")
    raise NotACheckpointError(
        f"This is not a PyTorch checkpoint: {_guess(head)}.",
        remedy="Send what torch.save or safetensors wrote.",
    )


def begins_like_a_checkpoint(head: bytes) -> bool:
    """Say whether a file with this beginning may be a checkpoint; of a zip only its end tells."""
    return any(container.begins(head) for container in CONTAINERS.values())


def begins_like_torch_zip(path: Path) -> bool:
    """Say whether a file's first member is the one that torch.save writes first.

    For a zip of many members this is quicker than to read the names of all.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if len(head) < _LOCAL_HEADER_BYTES or not head.startswith(ZIP_MAGIC):
        return False
    end = _LOCAL_HEADER_BYTES + struct.unpack_from("<H", head, 26)[0]
    return head[_LOCAL_HEADER_BYTES:end].endswith(b"/data.pkl")


def begins_like_an_index(head: bytes) -> bool:
    """Say whether a file with this beginning may be the index of a sharded checkpoint."""
    return head.lstrip().startswith(b"{") and b'"weight_map"' in head


def begins_like_a_pickle(head: bytes) -> bool:
    """Say whether a file with this beginning may be a pickle, though none of torch.save's."""
    return head[:1] == b"\x80" and head[1:2] in {b"\2", b"\3", b"\4", b"\5"}


def _kind_of_zip(path: Path) -> str:
    names = {name.split("/", 1)[-1] for name in member_names(path)}
    found = (name for name, each in CONTAINERS.items() if each.has_members(names))
    return next(found, "zip-folder")


def _gunzipped(head: bytes) -> bytes:
    """Return as much as can be had of what is compressed, or nothing."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _TAR_BLOCK_BYTES)
    except zlib.error:
        return b""


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _guess(head: bytes) -> str:
    if not head:
        return "the file is empty"
    for magic, kind in _OTHERS.items():
        if head.startswith(magic):
            return f"it is {kind}"
    return "its first bytes are those of no format known here"
