"""A folder of the file system.

Links are followed, to files and to folders, as `cp -rL` follows them: whoever names a folder of
their own machine may read what it links to. Uploads never come here: they are single files, and a
link in an archive is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from convlast.containers.sniffing import FolderKind
from convlast.errors import MalformedCheckpointError
from convlast.folders.folder import CHUNK_BYTES, Folder, FolderFile, refuse_misfit
from convlast.folders.member_names import Names, refuse_depth, refuse_number, shown
from convlast.options import Limits

_ANNEX = "annex/objects/"

_Identity: TypeAlias = tuple[int, int]
"""The device and the number of a folder, which all links to it share."""


class PlainFolder(Folder):
    """A folder; its files are sorted by the bytes of their paths.

    What cannot be copied is left out: pipes and devices, links to nothing, and links to a folder
    from inside that folder.
    """

    kind: FolderKind = "folder"

    def __init__(self, path: Path, limits: Limits, workplace: Path | None = None) -> None:
        """Look through a folder; the workplace is no part of it, even if a link leads there."""
        super().__init__(path, workplace, limits)
        found: list[FolderFile] = []
        for member in self._find():
            found.append(member)
            refuse_number(len(found), limits)
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
        waiting: list[tuple[str, tuple[_Identity, ...]]] = [("", (_identity_of(self.path),))]
        own = _identity_of(self._workplace) if self._workplace else None
        number = 0
        while waiting:
            below, above = waiting.pop()
            with os.scandir(self.path / below) as entries:
                for entry in entries:
                    name = f"{below}/{entry.name}" if below else entry.name
                    number += 1
                    refuse_number(number, self.limits)
                    _refuse_unprintable(name)
                    refuse_depth(name)
                    identity = _identity_of(entry) if _is_folder(entry) else None
                    if identity is not None and identity == own:
                        continue
                    if identity in above:
                        self.left_out[name] = "it is a link to a folder that it is in"
                        continue
                    names.note(name, is_folder=identity is not None)
                    if identity is not None:
                        self.bare.append(name)
                        waiting.append((name, (*above, identity)))
                    elif (member := self._member(name)) is not None:
                        yield member

    def _member(self, name: str) -> FolderFile | None:
        """Return the file of this name; None if it cannot be copied, which is noted."""
        path = self.path / name
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self.left_out[name] = _words_on_link(path)
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            self.left_out[name] = "it is a link to itself"
            return None
        if not stat.S_ISREG(found.st_mode):
            self.left_out[name] = "it is neither a file nor a folder"
            return None
        return FolderFile(name, found.st_size)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity_of(folder: Path | os.DirEntry[str]) -> _Identity:
    """Return the identity of a folder, or of the folder that a link leads to."""
    found = os.stat(folder)  # noqa: PTH116  # an entry has no path of pathlib
    return found.st_dev, found.st_ino


def _words_on_link(link: Path) -> str:
    """Describe a link to a file that is not there."""
    try:
        target = os.readlink(link)  # noqa: PTH115  # as text, whatever it is
    except OSError:
        return "it is gone"
    if _ANNEX in target:
        return "it is a link of git-annex to a file that was not fetched (git annex get)"
    return "it is a link to a file that is not there"


def _refuse_unprintable(name: str) -> None:
    """Refuse names that a report cannot contain, because their bytes are not valid text."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise MalformedCheckpointError(f"{shown(name)} has a name that is not UTF-8.") from error
