"""How many bytes on disk the work under way may take, counted as they come."""

from __future__ import annotations

import threading

from convlast.errors import StorageFullError

COPIES = 2
"""What a byte of a checkpoint costs: it lies there itself, and so does its artifact. What is in an
archive costs as much again: a file of it, and what is made of that, lie there too for a while."""


class Quota:
    """The bytes for all jobs that run or are being answered."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken_bytes = 0
        self._changes = threading.Lock()

    @property
    def taken_bytes(self) -> int:
        """The bytes that are taken now."""
        return self._taken_bytes

    def check(self, upload_bytes: int) -> None:
        """Look whether an upload of this size would fit now.

        Raises:
            StorageFullError: If not.
        """
        if self._taken_bytes + COPIES * upload_bytes > self._max_bytes:
            raise StorageFullError(
                f"Work may take {self._max_bytes:,} bytes on disk, and this does not fit in now.",
                remedy="Try later, or raise CONVLAST_WORK_BYTES.",
            )

    def take(self, upload_bytes: int) -> None:
        """Take room for so many more bytes of an upload. Called from several threads.

        Raises:
            StorageFullError: If there is none.
        """
        with self._changes:
            self.check(upload_bytes)
            self._taken_bytes += COPIES * upload_bytes

    def give_back(self, upload_bytes: int) -> None:
        """Give room back."""
        with self._changes:
            self._taken_bytes -= COPIES * upload_bytes
