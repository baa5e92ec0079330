"""Parts of open files, which stay readable even if the files are removed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from service.errors import NotFoundError

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Slice(Protocol):
    """A part of an object, which stays readable until it is closed."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    def part(self, start: int, length: int) -> Self:
        """Return the `length` bytes from `start` as a slice of their own."""

    def read_at(self, start: int, length: int) -> bytes:
        """Read the `length` bytes from `start`, in a thread.

        Raises:
            OSError: If they cannot be read.
        """

    def read(self) -> bytes:
        """Read all of its bytes, as `read_at` does."""

    def close(self) -> None:
        """Close what is open for it."""


@dataclass(frozen=True)
class FileSlice:
    """A part of an open file, which stays readable even if the store removes the file."""

    file: BinaryIO
    start: int
    size_bytes: int

    @classmethod
    def whole(cls, folder: Path, name: str) -> FileSlice:
        """Open a regular file in a folder.

        A worker may have made both, so neither may be a symbolic link, and the file may have no
        second hard link.

        Raises:
            NotFoundError: If there is no such file.
        """
        try:
            directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | _FLAGS)
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=directory)
            finally:
                os.close(directory)
        except OSError:
            raise NotFoundError("There is no such file, or it is gone.") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise NotFoundError("There is no such file.")
        return cls(os.fdopen(descriptor, "rb", buffering=0), 0, status.st_size)

    def part(self, start: int, length: int) -> FileSlice:
        """Return the `length` bytes from `start` as a slice of their own."""
        return FileSlice(self.file, self.start + start, length)

    def read_at(self, start: int, length: int) -> bytes:
        """Read the `length` bytes from `start`."""
        return os.pread(self.file.fileno(), length, self.start + start)

    def read(self) -> bytes:
        """Read all of its bytes."""
        return self.read_at(0, self.size_bytes)

    def close(self) -> None:
        """Close the file."""
        self.file.close()
