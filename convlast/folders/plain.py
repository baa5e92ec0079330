"""A folder of the file system. Links are not followed: they may lead out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convlast.containers.sniffing import FolderKind
from convlast.errors import MalformedCheckpointError
from convlast.folders.folder import CHUNK_BYTES, Folder, FolderFile, refuse_misfit
from convlast.folders.member_names import Names, refuse_depth, refuse_number, shown
from convlast.options import Limits


class PlainFolder(Folder):
    """A folder; its files are sorted by the bytes of their paths."""

    kind: FolderKind = "folder"

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(path, None, limits)
        found: list[FolderFile] = []
        for member in self._find():
            found.append(member)
            refuse_number(len(found) + len(self.bare), limits)
        found.sort(key=lambda member: os.fsencode(member.name))
        self.members = {member.name: member for member in found}
        self.bare.sort()

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member in pieces."""
        done = 0
        with (self.path / name).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                done += len(chunk)
                yield chunk
        refuse_misfit(name, self.members[name].nbytes, done)

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """Yield the path of the file itself."""
        yield self.path / name

    def _find(self) -> Iterator[FolderFile]:
        """Yield the files, in any order; add the folders to `bare`."""
        names = Names(self.limits)
        waiting = [""]
        while waiting:
            below = waiting.pop()
            with os.scandir(self.path / below) as entries:
                for entry in entries:
                    name = f"{below}/{entry.name}" if below else entry.name
                    _refuse_unprintable(name)
                    refuse_depth(name)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    names.note(name, is_folder=is_folder)
                    if is_folder:
                        self.bare.append(name)
                        waiting.append(name)
                    else:
                        yield member_of(self.path, name)


def member_of(folder: Path, name: str) -> FolderFile:
    """Return the file of this name in a folder.

    Raises:
        MalformedCheckpointError: If it is a link, or anything else that is not a file.
    """
    found = (folder / name).lstat()
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(name, found.st_mode)
    return FolderFile(name, found.st_size)


def _refusal(name: str, mode: int) -> MalformedCheckpointError:
    if stat.S_ISLNK(mode):
        return MalformedCheckpointError(
            f"{shown(name)} is a link, which may lead out of the folder.",
            remedy="Convert a copy without links, which `cp -rL` makes.",
        )
    return MalformedCheckpointError(f"{shown(name)} is neither a file nor a folder.")


def _refuse_unprintable(name: str) -> None:
    """Refuse names that a report cannot contain, because their bytes are not valid text."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise MalformedCheckpointError(f"{shown(name)} has a name that is not UTF-8.") from error
