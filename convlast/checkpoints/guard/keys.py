"""The keys of dicts and the elements of sets in a pickle: what Python hashes and compares.

It does so while a file is loaded, with whatever stands there. A tuple of two that are one, of two
that are one ... takes 2⁴⁰ steps to hash. Numbers that all have one hash are each compared with all
before them, and whoever makes a file can choose such numbers; texts have a hash that cannot be
foreseen.
"""

from __future__ import annotations

from collections.abc import Iterable

from convlast.checkpoints.guard.handing import Handing
from convlast.errors import MalformedCheckpointError

_MAX_UNUSUAL = 4096
"""Keys in one pickle that are neither text nor a plain number; few real ones have any."""

_MAX_PARTS = 100
"""Parts of a tuple that is a key, and theirs."""

_MAX_CHARACTERS = 1000
"""Of the texts in a tuple that is a key, together."""

_PLAIN = 1 << 63
"""Numbers below this have hashes of their own, but for a handful."""


class Keys:
    """The keys of one pickle."""

    def __init__(self, handing: Handing) -> None:
        self._handing = handing
        self._unusual = 0

    def take(self, keys: Iterable[object]) -> None:
        """Take some keys.

        Raises:
            MalformedCheckpointError: If hashing them could take long.
            UnsafeCheckpointError: If comparing them could.
        """
        for key in keys:
            if isinstance(key, str | bytes):
                self._handing.take_key(key)
                continue
            if isinstance(key, float | None) or _is_plain(key):
                continue
            self._unusual += 1
            if self._unusual > _MAX_UNUSUAL or not _is_small(key):
                raise MalformedCheckpointError(
                    "Its pickle has keys that are neither text nor plain numbers, "
                    "and too many or too large ones to compare."
                )


def _is_plain(key: object) -> bool:
    return isinstance(key, int) and -_PLAIN <= key < _PLAIN


def _is_small(key: object) -> bool:
    """Say whether a key has few parts, however often each of them is referred to."""
    waiting, characters = [key], 0
    for _ in range(_MAX_PARTS):
        if not waiting:
            return True
        value = waiting.pop()
        if isinstance(value, tuple):
            waiting.extend(value[: _MAX_PARTS + 1])
        elif isinstance(value, str | bytes):
            characters += len(value)
            if characters > _MAX_CHARACTERS:
                return False
    return not waiting
