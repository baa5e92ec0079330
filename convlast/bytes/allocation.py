"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import gc

KEPT_BYTES = 64 << 20
"""How much may lie there: as much as the C library keeps in any case."""


class Leftovers:
    """What files have left in memory, given back whenever it may be much.

    To look for it takes as long as converting a small file, so it is not done for each.
    """

    def __init__(self) -> None:
        self._nbytes = 0

    def add(self, nbytes: int) -> None:
        """Count a file of so many bytes that was opened and is closed again."""
        self._nbytes += nbytes
        if self._nbytes >= KEPT_BYTES:
            self._nbytes = 0
            return_freed_memory()


def return_freed_memory() -> None:
    """Free what only refers to itself, and have the C library give back what it keeps for later.

    Programs that torch has traced refer to themselves, and to their weights. The C library, where
    it is one that can give back (glibc), learns from the sizes that are freed, and keeps up to
    64 MiB: a whole weight, beside which the next file's would come.
    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
