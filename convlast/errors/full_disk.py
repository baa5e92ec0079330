"""The system's errors about a full disk, as one of the tree."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from convlast.errors import StorageFullError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The system's error numbers for a full file system, a used-up quota, and too large a file."""


@contextmanager
def full_disk_translated(
    message: str = "The file system is full.", *, remedy: str
) -> Iterator[None]:
    """Translate the system's errors about a full disk into a StorageFullError.

    Raises:
        StorageFullError: If the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        if error.errno == errno.EFBIG:
            message = "No file may become this large here: see ulimit -f, and the file system."
        raise StorageFullError(message, remedy=remedy) from error
