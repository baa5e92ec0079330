"""How much data a pickle passes to the functions that it calls, and to objects as their state.

A set that is made from a list copies it, and a few bytes can pass the same list again and again. So
the elements and characters that are passed are counted before anything is made. torch.save writes
each of them out wherever it is passed, which takes at least one byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convlast.checkpoints.guard.outlines import Bytes, Dict, List
from convlast.errors import UnsafeCheckpointError

EACH_BYTE = 2
"""Elements that may be passed for each byte of the pickle so far: a bytearray is passed twice, as
text and then as bytes."""

AT_LEAST = 10_000
"""Elements that any pickle may pass."""

LONG_KEY = 256
"""Characters of a key that is compared as fast as a short one; longer keys are counted."""


class Handing:
    """Counts the data that one pickle has passed so far."""

    def __init__(self, tell: Callable[[], int]) -> None:
        """Begin with nothing; `tell` says how far the file has been read."""
        self._tell, self._start = tell, tell()
        self._elements = 0

    def count(self, name: str, values: Sequence[object]) -> None:
        """Count these values and their elements, and those of nested tuples.

        Each tuple is counted before it is searched: a few bytes can refer to a long one often.

        Args:
            name: The function or object that they are passed to.
            values: The arguments of a call, or the parts of a state.

        Raises:
            UnsafeCheckpointError: If there are more than torch.save would have written.
        """
        waiting, elements = [values], 0
        while waiting:
            group = waiting.pop()
            self.add(name, elements + len(group))
            elements = 0
            for value in group:
                if value.__class__ is tuple:
                    waiting.append(value)
                elif value.__class__ in _LENGTHS:
                    elements += _LENGTHS[value.__class__](value)
        if elements:
            self.add(name, elements)

    def take_key(self, key: str | bytes) -> None:
        """Count a long key, which Python may have to compare with another of the same length.

        Raises:
            UnsafeCheckpointError: As `count`.
        """
        if len(key) > LONG_KEY:
            self.add("a dict", len(key))

    def add(self, name: str, elements: int) -> None:
        """Count this many more elements; otherwise as `count`."""
        self._elements += elements
        if self._elements <= AT_LEAST:
            return
        read_bytes = self._tell() - self._start
        allowed = EACH_BYTE * read_bytes + AT_LEAST
        if self._elements > allowed:
            raise UnsafeCheckpointError(
                f"The checkpoint passes the same objects again and again, at last to {name}: "
                f"{self._elements:,} elements, where a pickle of {read_bytes:,} bytes may pass "
                f"{allowed:,}.",
                names=[name],
                remedy="torch.save does not write that. Its owner can save the weights alone: "
                "torch.save(model.state_dict(), path).",
            )


_LENGTHS: dict[type, Callable[[Any], int]] = {
    str: len,
    bytes: len,
    List: lambda value: len(value.items),
    Dict: lambda value: len(value.pairs),
    Bytes: lambda value: value.nbytes,
}
"""How to count the elements or characters that are copied with a value of each type."""
