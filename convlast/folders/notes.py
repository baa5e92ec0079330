"""The manifests of all converted checkpoints in a model folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from convlast.checkpoints.manifest import Manifest
from convlast.containers import read_manifest
from convlast.errors import CheckpointError
from convlast.folders import open_folder
from convlast.folders.contents import Contents, Found
from convlast.options import Limits
from convlast.writing.workplace import temporary_folder


class Notes(BaseModel):
    """How the files of a model folder were converted."""

    files: dict[str, Manifest]
    """The manifest of each converted checkpoint, by its path."""


def notes_in(path: Path, limits: Limits) -> Notes:
    """Read the manifest of each checkpoint in a model folder or an archive of one.

    Raises:
        CheckpointError: If it cannot be read.
    """
    found: dict[str, Manifest] = {}
    with (
        temporary_folder() as workplace,
        open_folder(path, workplace, limits) as folder,
    ):
        contents = Contents(folder)
        for name in folder.members:
            with contents.found(name, allow_programs=True) as checkpoint:
                note = _read_manifest(checkpoint, contents) if checkpoint else None
                if note is not None:
                    found[name] = note
    return Notes(files=found)


def _read_manifest(checkpoint: Found, contents: Contents) -> Manifest | None:
    """Return the manifest of a checkpoint; None if it has none, or cannot be opened."""
    try:
        return read_manifest(checkpoint.path)
    except CheckpointError as error:
        contents.pass_on(checkpoint.name, error)
        return None
