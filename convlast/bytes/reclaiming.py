"""Memory: Python's garbage collector, asked to look less often, and what was freed, given back.

A conversion makes a dozen objects for each tensor and keeps them. The collector looks at those that
are young whenever 700 more are there, and now and then at all that there are: torch's own, and
those of whoever called. It finds nothing, since hardly any of them refer to themselves.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

YOUNG_OBJECTS = 50_000
"""How many have to be there before the collector looks at them; they take some 10 MB."""

KEPT_BYTES = 64 << 20
"""How much may lie there freed: as much as the C library keeps in any case."""

_LOCK = Lock()
_FOUND: list[int] = []
"""The threshold that the first one found, once for each that is under way."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Let Python collect garbage seldom meanwhile; also a decorator.

    There is one collector for the whole process. It goes on, for each generation by as much more
    seldom, so that the garbage of other threads waits and does not pile up, as it could in a pause.
    Where the caller has turned it off, asked it to look more seldom still, or sets it meanwhile,
    that stays so.
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
