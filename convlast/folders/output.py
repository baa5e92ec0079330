"""Writing a model folder: a folder from a folder, a zip from a zip, a tar from a tar.

The same files in the same order give the same bytes: archives have no times and no owners.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from convlast.folders.folder import Folder


class FolderOutput:
    """A model folder that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, made: Path) -> None:
        """Add a new file; it may be moved from its path."""
        raise NotImplementedError

    def copy(self, folder: Folder, name: str) -> str:
        """Add a member unchanged; return the SHA-256 of its bytes."""
        raise NotImplementedError

    def add_bare(self, name: str) -> None:
        """Add a folder, which may stay empty."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the folder or archive."""


class PlainOutput(FolderOutput):
    """A folder of the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        path.mkdir()

    def add(self, name: str, made: Path) -> None:
        """Move a file to its place."""
        made.rename(self._place(name))

    def copy(self, folder: Folder, name: str) -> str:
        """Write a member to its place."""
        with self._place(name).open("xb") as target:
            return folder.copy(name, target)

    def add_bare(self, name: str) -> None:
        """Make a folder."""
        (self.path / name).mkdir(parents=True, exist_ok=True)

    def _place(self, name: str) -> Path:
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


class ZipOutput(FolderOutput):
    """An uncompressed zip archive: weights hardly shrink."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive = zipfile.ZipFile(path, "x")

    def add(self, name: str, made: Path) -> None:
        """Write a file into the archive."""
        with self._opened(name, made.stat().st_size) as target, made.open("rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)

    def copy(self, folder: Folder, name: str) -> str:
        """Write a member into the archive."""
        with self._opened(name, folder.members[name].nbytes) as target:
            return folder.copy(name, target)

    def add_bare(self, name: str) -> None:
        """Note a folder."""
        self._archive.writestr(self._entry(f"{name}/", 0o40755), b"")

    def close(self) -> None:
        """Write the directory."""
        self._archive.close()

    @contextmanager
    def _opened(self, name: str, nbytes: int) -> Iterator[IO[bytes]]:
        entry = self._entry(name, 0o100644)
        entry.file_size = nbytes  # the library chooses the kind of header by it
        with self._archive.open(entry, "w") as target:
            yield target

    def _entry(self, name: str, mode: int) -> zipfile.ZipInfo:
        # A ZipInfo made from a name alone is dated 1980-01-01, the same on every machine.
        entry = zipfile.ZipInfo(name)
        entry.create_system, entry.external_attr = 3, mode << 16
        return entry


class TarOutput(FolderOutput):
    """An uncompressed tar archive."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path.open("xb")

    def add(self, name: str, made: Path) -> None:
        """Write a file into the archive."""
        with self._room(name, made.stat().st_size), made.open("rb") as source:
            shutil.copyfileobj(source, self._file, 1 << 20)

    def copy(self, folder: Folder, name: str) -> str:
        """Write a member into the archive."""
        with self._room(name, folder.members[name].nbytes):
            return folder.copy(name, self._file)

    def add_bare(self, name: str) -> None:
        """Note a folder."""
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        self._write_header(entry)

    def close(self) -> None:
        """Write the end marker."""
        if not self._file.closed:
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))
            self._file.close()

    @contextmanager
    def _room(self, name: str, nbytes: int) -> Iterator[None]:
        """Write a header, let the caller write the bytes, and pad the last block."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = nbytes, 0o644
        self._write_header(entry)
        yield
        self._file.write(bytes(-nbytes % tarfile.BLOCKSIZE))

    def _write_header(self, entry: tarfile.TarInfo) -> None:
        self._file.write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
