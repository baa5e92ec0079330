"""What kind of file this is, told from its bytes and never from its name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

from convlast.checkpoints.archive import member_names
from convlast.errors import MalformedCheckpointError, NotACheckpointError

Container = Literal["torch", "torch-legacy", "safetensors", "torchscript", "program"]

_ZIP = b"PK\x03\x04"
LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""The first pickle of torch's legacy format: protocol 2, and a number of ten bytes."""

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


def container_of(path: Path) -> Container:
    """Tell what kind of checkpoint a file is.

    Raises:
        NotACheckpointError: If it is none.
        MalformedCheckpointError: If it begins like one and then ends, or has a broken directory.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(_ZIP):
        return _zip_container(path)
    if head.startswith(LEGACY):
        return "torch-legacy"
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 40:
        return "safetensors"
    if head and (_ZIP.startswith(head) or LEGACY.startswith(head)):
        raise MalformedCheckpointError(f"The file ends after {len(head)} bytes.")
    raise NotACheckpointError(
        f"This is not a PyTorch checkpoint: {_guess(head)}.",
        remedy="Send what torch.save or safetensors wrote.",
    )


def _zip_container(path: Path) -> Container:
    names = {name.split("/", 1)[-1] for name in member_names(path)}
    if any(name.startswith("models/") and name.endswith(".json") for name in names) or (
        "serialized_exported_program.json" in names
    ):
        return "program"
    if "data.pkl" not in names:
        raise NotACheckpointError(
            "This is a zip archive, but not one of torch.save's: it has no member data.pkl.",
            remedy="Send the checkpoint file itself, not an archive around it.",
        )
    return "torchscript" if "constants.pkl" in names else "torch"


def _guess(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if head[257:262] == b"ustar":
        return "it is a tar archive"
    for magic, kind in _OTHERS.items():
        if head.startswith(magic):
            return f"it is {kind}"
    return "its first bytes are those of no format known here"
