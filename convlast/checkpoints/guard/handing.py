"""How much a pickle hands over to what it calls, and to the objects that it gives attributes.

A set that is made of a list copies it, and a few bytes can hand over the same list again and again.
So what is handed over is counted, in elements and characters, before anything is made: torch.save
writes each of them where it is handed over, which takes a byte or more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convlast.checkpoints.guard.outlines import Bytes, Dict, List
from convlast.errors import UnsafeCheckpointError

EACH_BYTE = 2
"""Elements for each byte of the pickle so far: a bytearray is handed over twice, as text and then
as bytes."""

AT_LEAST = 10_000
"""Elements that any pickle may hand over."""

LONG_KEY = 256
"""Characters of a key that is compared as fast as a short one; of longer ones each counts."""


class Handing:
    """What one pickle has handed over so far."""

    def __init__(self, tell: Callable[[], int]) -> None:
        """Begin with nothing; `tell` says how far the file has been read."""
        self._tell, self._start = tell, tell()
        self._elements = 0

    def count(self, name: str, values: Sequence[object]) -> None:
        """Count these values, what they hold, and what tuples among them do, however deep.

        Each is counted before it is looked through: a few bytes can name a long tuple often.

        Args:
            name: What they are handed over to.
            values: The arguments of a call, or the parts of a state.

        Raises:
            UnsafeCheckpointError: If it is more than torch.save would have written.
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
        """Count a key that may have to be compared with another of its length.

        Raises:
            UnsafeCheckpointError: As `count`.
        """
        if len(key) > LONG_KEY:
            self.add("a dict", len(key))

    def add(self, name: str, elements: int) -> None:
        """Count so many elements more; as `count` for the rest."""
        self._elements += elements
        if self._elements <= AT_LEAST:
            return
        read_bytes = self._tell() - self._start
        allowed = EACH_BYTE * read_bytes + AT_LEAST
        if self._elements > allowed:
            raise UnsafeCheckpointError(
                f"The checkpoint hands the same things over again and again, at last to {name}: "
                f"{self._elements:,} elements, where a pickle of {read_bytes:,} bytes may hand "
                f"over {allowed:,}.",
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
"""How many elements or characters are copied with a value of a type."""
