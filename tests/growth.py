"""The law that time grows no faster than a text: hostile texts of any length, and a deadline.

The deadline is many times what it takes to read a text once, and a small part of what it takes to
read all of it again for each of its letters.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product

from convlast.errors import ConvlastError

LENGTH = 1 << 16
DEADLINE_S = 2.0
_FIRST = 1 << 10

Shape = Callable[[int], str]
"""Gives a text of about so many letters."""


def shapes(pieces: Sequence[str]) -> Iterator[Shape]:
    """Give texts of any length, made of the pieces of a grammar: what backtracks, and what nests.

    Each begins with the first piece, or not, and ends with one that stands nowhere else.
    """
    for start, one, other in product(("", pieces[0]), pieces, pieces):
        yield partial(_text, start, one, other)
        yield partial(_text, start, one + other, "")


def _text(start: str, piece: str, between: str, size: int) -> str:
    run = piece * (size // 2 // len(piece))
    return f"{start}{run}{between}{run}!"


def check_growth(read: Callable[[str], object], shape: Shape, *, length: int = LENGTH) -> None:
    """Read longer and longer texts; each is read, or refused, within the deadline."""
    size = _FIRST
    while size <= length:
        text = shape(size)
        with quick(f"{len(text):,} letters, {text[:40]!r}"):
            read(text)
        size *= 4


@contextmanager
def quick(what: str) -> Iterator[None]:
    """See that something is done, or refused, within the deadline, by this process's own clock."""
    gc.disable()  # a collection takes as long as all objects of this process are many
    began_s = time.process_time()
    try:
        with suppress(ConvlastError):
            yield
    finally:
        gc.enable()
    taken_s = time.process_time() - began_s
    assert taken_s < DEADLINE_S, f"{what}: {taken_s:.1f} s"
