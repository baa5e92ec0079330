"""Python's cyclic garbage collector, asked to look less often while much is made and kept.

A conversion makes a dozen objects for each tensor and keeps them. The collector looks at those that
are young whenever 700 more are there, and now and then at all that there are: torch's own, and
those of whoever called. It finds nothing, since hardly any of them refer to themselves.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

YOUNG_OBJECTS = 50_000
"""How many have to be there before the collector looks at them; they take some 10 MB."""

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
