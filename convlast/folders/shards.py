"""The checkpoint files that a path stands for: one file, or the shards of an index."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from convlast.containers import container_of
from convlast.containers.sniffing import (
    FOLDERS,
    HEAD_BYTES,
    begins_like_a_checkpoint,
    begins_like_an_index,
)
from convlast.errors import CheckpointError, NotACheckpointError
from convlast.folders.index import IndexedFiles
from convlast.folders.member_names import refuse_number
from convlast.options import Limits
from convlast.report.listing import listed

_MAX_LISTED = 5


def parts_of(path: Path) -> list[Path]:
    """Return the file that a path stands for, or its shards.

    Args:
        path: A checkpoint, an index with its shards beside it, or a folder with one of these.

    Raises:
        NotACheckpointError: If it is an archive, or a folder with no checkpoint or several.
        MalformedCheckpointError: If shards are missing.
    """
    if path.is_dir():
        groups = groups_in(path)
        if len(groups) == 1:
            return groups[0]
        found = [group[0].relative_to(path).as_posix() for group in groups or groups_below(path)]
        names = listed(sorted(found), at_most=_MAX_LISTED)
        place = "" if groups else "below it "
        raise NotACheckpointError(
            f"One checkpoint is wanted in the folder {path.name!r}, and there are {len(groups)}"
            f"{f': {place}{names}' if names else ''}.",
            remedy="Name the file, or the index of its shards.",
        )
    if not path.is_file() or (container := container_of(path)) not in FOLDERS:
        return [path]
    if container != "sharded":
        raise NotACheckpointError(
            f"{path.name!r} is an archive of a model folder.", remedy="Unpack it first."
        )
    return _shards_of(path)


def groups_in(folder: Path) -> list[list[Path]]:
    """Return the checkpoints in a folder, without subfolders; each is a file, or several shards.

    Raises:
        MalformedCheckpointError: If an index cannot be read, or shards are missing.
    """
    return _groups(path for path in folder.iterdir() if path.is_file())


def groups_below(folder: Path) -> list[list[Path]]:
    """Return the checkpoints in a folder and its subfolders, as `groups_in` does.

    Links to folders are not followed. A file that cannot be opened is left out.

    Raises:
        LimitExceededError: If there are more than `max_files` files.
    """
    groups: list[list[Path]] = []
    number = 0
    for place, folders, files in os.walk(folder):
        folders.sort()
        number += len(folders) + len(files)
        refuse_number(number, Limits())
        paths = (Path(place, name) for name in files)
        groups += _groups((path for path in paths if path.is_file()), CheckpointError)
    return groups


def _groups(files: Iterable[Path], *passed_over: type[CheckpointError]) -> list[list[Path]]:
    heads = {path: _head(path) for path in sorted(files)}
    groups = []
    for path in heads:
        with suppress(*passed_over):
            if begins_like_an_index(heads[path]):
                groups.append(_shards_of(path))
    shards = {shard for group in groups for shard in group}
    for path in heads:
        with suppress(*passed_over):
            is_one = begins_like_a_checkpoint(heads[path]) and container_of(path) not in FOLDERS
            if is_one and path not in shards:
                groups.append([path])
    return groups


def _shards_of(index: Path) -> list[Path]:
    with IndexedFiles(index, Limits()) as found:
        return [found.path / name for name in found.shards]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
