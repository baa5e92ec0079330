"""Allowing torch to load known classes and functions, after a pickle has been checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch

from convlast.checkpoints.guard import numpy_values, plain_values, records
from convlast.checkpoints.guard.modules import classes

_LOCK = RLock()
"""torch has one list of allowed names for the whole process."""


@contextmanager
def known_names_allowed(names: Collection[str] | None = None) -> Iterator[None]:
    """Let `torch.load(weights_only=True)` load modules of `torch.nn`, and values beside weights.

    Use this only for files whose pickle was scanned, and uses them only in known ways.

    Args:
        names: The names that the file asks for; None for all known names. A short list is faster:
            torch searches the whole list for each object of a class.
    """
    known = classes()
    named = [(known[name], name) for name in (known if names is None else names) if name in known]
    values = _values(None if names is None else set(names) - set(known))
    with _LOCK:
        there = torch.serialization.get_safe_globals()
        # Names that the caller has allowed stay allowed afterwards.
        wanted = [found for found in (*named, *values) if found not in there]
        with torch.serialization.safe_globals(wanted):
            yield


def _values(names: Collection[str] | None) -> list[Any]:
    """Return the classes and functions that make values beside weights, with their names.

    A class can be saved under another name than it was loaded by, so each has all its names.
    """
    found = [
        *((known, name) for name, known in records.CLASSES.items()),
        *((known, name) for name, (known, _) in plain_values.table().items()),
    ]
    if names is None:
        return [*found, *numpy_values.safe_globals()]
    # Python writes empty bytes as a call of their class, NumPy those of an empty array.
    named = {id(known) for known, name in found if name in names or (names and known is bytes)}
    of_numpy = [] if numpy_values.NAMES.isdisjoint(names) else numpy_values.safe_globals()
    return [*(pair for pair in found if id(pair[0]) in named), *of_numpy]
