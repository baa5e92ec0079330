"""Checkpoints: a module for each container, behind one verb that opens any of them."""

from __future__ import annotations

from pathlib import Path

from convlast.checkpoints.archive import read_directory
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.manifest import MEMBER, METADATA_KEY, Manifest, decode
from convlast.checkpoints.safetensors import METADATA, open_safetensors, read_header
from convlast.checkpoints.sniffing import container_of
from convlast.checkpoints.torch_legacy import open_torch_legacy
from convlast.checkpoints.torch_zip import open_torch_zip
from convlast.errors import NotACheckpointError, ProgramNotAllowedError
from convlast.options import Limits

__all__ = ["Checkpoint", "open_checkpoint", "read_manifest"]

_OPENERS = {
    "torch": open_torch_zip,
    "torch-legacy": open_torch_legacy,
    "safetensors": open_safetensors,
}


def open_checkpoint(
    path: Path, *, limits: Limits | None = None, allow_programs: bool = False
) -> Checkpoint:
    """Open a checkpoint of any container, without reading its data or running its code.

    Raises:
        CheckpointError: One of its kinds, if the file cannot be opened or must not be.
    """
    if not path.is_file():
        raise NotACheckpointError(f"There is no file {path.name!r}.")
    container = container_of(path)
    if container not in _OPENERS:
        raise ProgramNotAllowedError(
            f"The file is a {container} archive: a whole program, which opening would run.",
            remedy="Send the state dict it was made from: torch.save(model.state_dict(), path)."
            + (" Programs are not converted yet." if allow_programs else ""),
        )
    return _OPENERS[container](path, limits or Limits())


def read_manifest(path: Path) -> Manifest | None:
    """Return the note that a conversion left in a file; None where there is none.

    Raises:
        CheckpointError: If the file cannot be opened.
    """
    container = container_of(path)
    if container == "safetensors":
        header, _ = read_header(path, Limits())
        metadata = header.get(METADATA)
        noted = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
        return decode(noted) if isinstance(noted, str) else None
    if container == "torch-legacy":
        return None
    archive = read_directory(path, Limits())
    return decode(archive.read(MEMBER)) if MEMBER in archive.members else None
