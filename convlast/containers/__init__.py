"""Containers: a module for each kind of checkpoint file, behind one verb that opens any of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.manifest import Manifest
from convlast.containers.container import Container, WritableContainer
from convlast.containers.kinds import CONTAINERS
from convlast.containers.sniffing import FOLDERS, begins_like_torch_zip, container_of
from convlast.errors import NotACheckpointError, ProgramNotAllowedError
from convlast.options import Limits

if TYPE_CHECKING:
    from convlast.checkpoints.checkpoint import Checkpoint

__all__ = [
    "CONTAINERS",
    "FOLDERS",
    "Container",
    "WritableContainer",
    "container_of",
    "is_folder",
    "open_checkpoint",
    "read_manifest",
]


def is_folder(path: Path) -> bool:
    """Return whether a path is a model folder: a folder, an archive of one, or an index of shards.

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
    _refuse_other_than_file(path)
    name = container_of(path)
    if name in FOLDERS:
        raise NotACheckpointError(
            f"{path.name!r} is a model folder, or an archive of one, where one file is wanted.",
            remedy="Name the checkpoint in it.",
        )
    if CONTAINERS[name].holds_code and not allow_programs:
        raise ProgramNotAllowedError(
            f"The file is a {name} archive: a whole program, which its proof would run.",
            remedy="Send the state dict it was made from: torch.save(model.state_dict(), path). Or "
            "allow programs, from senders you trust: --allow-programs, or "
            "CONVLAST_ALLOW_PROGRAMS=true.",
        )
    return CONTAINERS[name].open(path, limits or Limits())


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest that a conversion left in a file; None where there is none.

    Raises:
        CheckpointError: If the file cannot be opened, or is not there.
    """
    _refuse_other_than_file(path)
    name = container_of(path)
    return None if name in FOLDERS else CONTAINERS[name].manifest_of(path)


def _refuse_other_than_file(path: Path) -> None:
    """Refuse a path that is neither a file nor a folder.

    Raises:
        NotACheckpointError: If nothing is there, or a pipe, a socket or a device.
    """
    if path.is_file() or path.is_dir():
        return
    if path.exists():
        raise NotACheckpointError(
            f"{path.name!r} is a pipe, a socket or a device, and not a file.",
            remedy="Write what comes out of it into a file first: it is read more than once.",
        )
    raise NotACheckpointError(f"There is no file {str(path)!r}.")
