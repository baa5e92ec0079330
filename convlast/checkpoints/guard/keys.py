"""The keys of dicts and the elements of sets in a pickle, which Python hashes and compares.

Python does so for any key in a file while it loads the file. A pair of twice the same pair, nested
40 deep, takes 2⁴⁰ steps to hash. Numbers with equal hashes are each compared with all before them,
and an attacker can choose such numbers; the hashes of strings cannot be predicted. Two frozen sets
of equal sets, nested 40 deep, take 2⁴⁰ steps to compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convlast.checkpoints.guard.handing import Handing
from convlast.checkpoints.guard.outlines import Bytes, Exact, Record, Set, Text
from convlast.errors import MalformedCheckpointError

_MAX_UNUSUAL = 4096
"""The most keys in one pickle that are neither text nor plain numbers; few real files have any."""

_MAX_PARTS = 100
"""The most parts of a key that is a tuple or a frozen set, including nested ones."""

_MAX_CHARACTERS = 1000
"""The most characters of all strings in a key that is no string."""

_SLOW = 16
"""For how many other keys a fraction, a decimal number or a UUID counts: Python's own code compares
them, and an attacker can choose their hashes."""

_PLAIN = 1 << 63
"""Below this only a handful of numbers share a hash."""


class Keys:
    """Checks the keys of one pickle."""

    def __init__(self, handing: Handing) -> None:
        self._handing = handing
        self._unusual = 0

    def take(self, keys: Iterable[object]) -> None:
        """Check some keys.

        Raises:
            MalformedCheckpointError: If hashing them could take long.
            UnsafeCheckpointError: If comparing them could take long.
        """
        for key in keys:
            if isinstance(key, str | bytes):
                self._handing.take_key(key)
                continue
            if isinstance(key, float | None) or _is_plain(key):
                continue
            self._unusual += _cost(key)
            if self._unusual > _MAX_UNUSUAL:
                raise MalformedCheckpointError(
                    "Its pickle has keys that are neither text nor plain numbers, "
                    "and they are too many or too large to compare."
                )


def _is_plain(key: object) -> bool:
    return isinstance(key, int) and -_PLAIN <= key < _PLAIN


def _cost(key: object) -> int:
    """Return for how many keys a key counts; for too many, if it is too large.

    A part counts each time that it is referred to.
    """
    waiting, characters, cost = [key], 0, 1
    for _ in range(_MAX_PARTS):
        if not waiting or characters > _MAX_CHARACTERS:
            break
        value = waiting.pop()
        waiting.extend(_parts_of(value)[: _MAX_PARTS + 1])
        characters += _length_of(value)
        cost += _SLOW if isinstance(value, Exact | Record) else 0
    return _MAX_UNUSUAL + 1 if waiting or characters > _MAX_CHARACTERS else cost


def _parts_of(value: object) -> Sequence[object]:
    if isinstance(value, Set):
        return value.items
    return value if isinstance(value, tuple) else ()


def _length_of(value: object) -> int:
    match value:
        case str() | bytes():
            return len(value)
        case Text(length=length) | Bytes(nbytes=length):
            return length
    return 0
