"""The classes and functions that torch is told to load, once a pickle has been judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

from convlast.checkpoints import numpy_scalars
from convlast.checkpoints.modules import classes

_LOCK = RLock()
"""torch has one list for the whole process."""


@contextmanager
def known_names_allowed() -> Iterator[None]:
    """Let `torch.load(weights_only=True)` load modules of `torch.nn` and NumPy's scalars.

    Only for files whose pickle was scanned, and found to use them as it may.
    """
    named = [(found, name) for name, found in classes().items()]
    with _LOCK:
        there = torch.serialization.get_safe_globals()
        # What the caller has allowed stays allowed afterwards.
        wanted = [found for found in (*named, *numpy_scalars.safe_globals()) if found not in there]
        with torch.serialization.safe_globals(wanted):
            yield
