"""Checkpoints: a module for each container, behind one verb that opens any of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.guard.zip_directory import read_directory
from convlast.checkpoints.manifest import MEMBER, METADATA_KEY, Manifest, decode
from convlast.checkpoints.programs.exported_program import open_exported_program
from convlast.checkpoints.programs.torchscript import open_torchscript
from convlast.checkpoints.safetensors import METADATA, open_safetensors, read_header
from convlast.checkpoints.sniffing import FOLDERS, begins_like_torch_zip, container_of
from convlast.checkpoints.torch_legacy import open_torch_legacy
from convlast.checkpoints.torch_zip import open_torch_zip
from convlast.errors import NotACheckpointError, ProgramNotAllowedError
from convlast.options import Limits

__all__ = [
    "FOLDERS",
    "PROGRAMS",
    "Checkpoint",
    "container_of",
    "is_folder",
    "open_checkpoint",
    "read_manifest",
]

_OPENERS: dict[str, Callable[[Path, Limits], Checkpoint]] = {
    "torch": open_torch_zip,
    "torch-legacy": open_torch_legacy,
    "safetensors": open_safetensors,
    "torchscript": open_torchscript,
    "program": open_exported_program,
}


PROGRAMS = ("torchscript", "program")
"""The containers that hold code."""


def is_folder(path: Path) -> bool:
    """Say whether a path is a model folder: a folder, an archive of one, or an index of shards.

    Raises:
        CheckpointError: If it is a file of no kind known here.
    """
    if not path.is_file():
        return path.is_dir()
    return not begins_like_torch_zip(path) and container_of(path) in FOLDERS


@collecting_seldom()
def open_checkpoint(
    path: Path, *, limits: Limits | None = None, allow_programs: bool = False
) -> Checkpoint:
    """Open a checkpoint of any container, without reading its data or running its code.

    Raises:
        CheckpointError: One of its kinds, if the file cannot be opened or must not be.
    """
    if not (path.is_file() or path.is_dir()):
        if path.exists():
            raise NotACheckpointError(
                f"{path.name!r} is a pipe or a device, and not a file.",
                remedy="Write what comes out of it into a file first: it is read more than once.",
            )
        raise NotACheckpointError(f"There is no file {path.name!r}.")
    container = container_of(path)
    if container in FOLDERS:
        raise NotACheckpointError(
            f"{path.name!r} is a model folder, or an archive of one, where one file is wanted.",
            remedy="Name the checkpoint in it.",
        )
    if container in PROGRAMS and not allow_programs:
        raise ProgramNotAllowedError(
            f"The file is a {container} archive: a whole program, which its proof would run.",
            remedy="Send the state dict it was made from: torch.save(model.state_dict(), path). Or "
            "allow programs, from senders you trust: --allow-programs, or "
            "CONVLAST_ALLOW_PROGRAMS=true.",
        )
    return _OPENERS[container](path, limits or Limits())


def read_manifest(path: Path) -> Manifest | None:
    """Return the note that a conversion left in a file; None where there is none.

    Raises:
        CheckpointError: If the file cannot be opened.
    """
    container = container_of(path)
    if container in FOLDERS:
        return None
    if container == "safetensors":
        header, _ = read_header(path, Limits())
        metadata = header.get(METADATA)
        noted = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
        return decode(noted) if isinstance(noted, str) else None
    if container == "torch-legacy":
        return None
    if container in PROGRAMS:
        return _OPENERS[container](path, Limits()).manifest
    archive = read_directory(path, Limits())
    return decode(archive.read(MEMBER)) if MEMBER in archive.members else None
