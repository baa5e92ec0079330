"""Parts of open files, which stay whole whatever becomes of their names."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.errors import NotFoundError

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class FileSlice:
    """A part of an open file. What is open stays whole, even if the store drops it meanwhile."""

    file: BinaryIO
    start: int
    size_bytes: int

    @classmethod
    def whole(cls, folder: Path, name: str) -> FileSlice:
        """Open a regular file in a folder.

        Neither is reached through a link, and the file has no other name: a worker may have made
        them.

        Raises:
            NotFoundError: If it is not there.
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
        """Narrow it to `length` bytes from `start`."""
        return FileSlice(self.file, self.start + start, length)

    def read(self) -> bytes:
        """Read all of it."""
        return os.pread(self.file.fileno(), self.size_bytes, self.start)
