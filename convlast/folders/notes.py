"""The manifests of all converted checkpoints in a model folder."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from convlast.checkpoints.manifest import Manifest
from convlast.containers import read_manifest
from convlast.containers.sniffing import begins_like_a_checkpoint
from convlast.errors import CheckpointError, OptionError
from convlast.folders import open_folder
from convlast.folders.contents import Contents, Found
from convlast.folders.member_names import shown
from convlast.folders.plain import PlainFolder
from convlast.options import Limits
from convlast.places.workplace import temporary_folder


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


def refuse_other_folder(target: Path, names: Collection[str], limits: Limits) -> None:
    """Refuse to replace a folder that was not made by an earlier conversion.

    One of its checkpoints must have a manifest, and each of its files a counterpart in what
    replaces it: nothing is removed that is not made anew.

    Args:
        target: The folder.
        names: The files of the folder that replaces it.
        limits: The limits to enforce.

    Raises:
        OptionError: If it is another folder.
        CheckpointError: If it cannot be read, or is beyond a limit.
    """
    found = PlainFolder(target, limits)
    others = [*(name for name in found.members if name not in names), *found.left_out]
    if others:
        raise _not_replaced(target, f"it also has {shown(others[0])}, which the input has not")
    for name in found.members:
        if begins_like_a_checkpoint(found.head(name)):
            with suppress(CheckpointError):
                if read_manifest(target / name) is not None:
                    return
    raise _not_replaced(target, "no file in it says that convlast converted it")


def _not_replaced(target: Path, reason: str) -> OptionError:
    return OptionError(
        "target",
        f"{str(target)!r} is not replaced, since it may not come from a conversion: {reason}.",
        remedy="Name another folder, or remove this one yourself.",
    )


def _read_manifest(checkpoint: Found, contents: Contents) -> Manifest | None:
    """Return the manifest of a checkpoint; None if it has none, or cannot be opened."""
    try:
        return read_manifest(checkpoint.path)
    except CheckpointError as error:
        contents.pass_on(checkpoint.name, error)
        return None
