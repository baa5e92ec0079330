"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes


def return_freed_memory() -> None:
    """Have the C library give back what it keeps for later, where it is one that can (glibc).

    It learns from the sizes that are freed, and keeps up to 64 MiB: a whole weight, beside which
    the next file's would come. Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
