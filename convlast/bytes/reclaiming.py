"""Memory: making Python's garbage collector run less often, and returning freed memory.

A conversion makes a dozen objects for each tensor and keeps them. The collector searches the young
objects whenever there are 700 new ones, and from time to time all objects, including torch's and
the caller's. It finds no garbage, since hardly any of them refer to themselves.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

YOUNG_OBJECTS = 50_000
"""How many young objects start a collection; they take some 10 MB."""

KEPT_BYTES = 64 << 20
"""How much freed memory may stay unreturned: as much as the C library keeps in any case."""

_LOCK = Lock()
_FOUND: list[int] = []
"""The original threshold, once for each active `collecting_seldom`."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Make Python collect garbage less often within the context; also a decorator.

    There is one collector for the whole process. It is not stopped, only less frequent for each
    generation, so that other threads' garbage is delayed but does not pile up. If the caller has
    turned it off, made it even less frequent, or changes it meanwhile, that is kept.
    """
    with _LOCK:
        young, *older = gc.get_threshold()
        if not _FOUND and 0 < young < YOUNG_OBJECTS:
            gc.set_threshold(YOUNG_OBJECTS, *older)
        _FOUND.append(_FOUND[0] if _FOUND else young)
    try:
        yield
    finally:
        with _LOCK:
            found = _FOUND.pop()
            young, *older = gc.get_threshold()
            if not _FOUND and young == YOUNG_OBJECTS:
                gc.set_threshold(found, *older)


class Leftovers:
    """Returns the memory of closed files whenever it may have become large.

    This takes as long as converting a small file, so it is not done for each file.
    """

    def __init__(self) -> None:
        self._nbytes = 0

    def add(self, nbytes: int) -> None:
        """Count a file of this size that was opened and closed."""
        self._nbytes += nbytes
        if self._nbytes >= KEPT_BYTES:
            self._nbytes = 0
            return_freed_memory()


def return_freed_memory() -> None:
    """Collect garbage, and make the C library return the memory that it keeps for later.

    Programs that torch has traced are in reference cycles with their weights. glibc adapts to the
    sizes that are freed, and keeps up to 64 MiB: a whole weight, in addition to those of the next
    file. Other C libraries are left alone.
    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
