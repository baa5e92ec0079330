"""The disk quota for running jobs, counted as the bytes arrive."""

from __future__ import annotations

import threading

from convlast.byte_size import exact
from convlast.errors import StorageFullError

COPIES = 2
"""How often a byte of a checkpoint counts: for itself and for its artifact. The contents of an
archive count as often again, since a file of it and its artifact are on disk for a while too."""


class Quota:
    """The bytes that all jobs may take which run or are being answered."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken_bytes = 0
        self._changes = threading.Lock()

    @property
    def taken_bytes(self) -> int:
        """How many bytes are taken."""
        return self._taken_bytes

    def check(self, upload_bytes: int) -> None:
        """Check whether an upload of this size would fit now.

        Raises:
            StorageFullError: If it would not.
        """
        if self._taken_bytes + COPIES * upload_bytes > self._max_bytes:
            raise StorageFullError(
                f"Jobs may take {exact(self._max_bytes)} on disk, and this one does not fit now.",
                remedy="Try later, or raise CONVLAST_WORK_BYTES.",
            )

    def take(self, upload_bytes: int) -> None:
        """Count this many more bytes of an upload. Several threads may call this.

        Raises:
            StorageFullError: If they do not fit.
        """
        with self._changes:
            self.check(upload_bytes)
            self._taken_bytes += COPIES * upload_bytes

    def hold(self, upload_bytes: int) -> None:
        """Count this many more bytes of an upload, even if they do not fit."""
        with self._changes:
            self._taken_bytes += COPIES * upload_bytes

    def give_back(self, upload_bytes: int) -> None:
        """Stop counting this many bytes of an upload."""
        with self._changes:
            self._taken_bytes -= COPIES * upload_bytes
