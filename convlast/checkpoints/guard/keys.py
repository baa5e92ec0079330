"""The keys of dicts and the elements of sets in a pickle, which Python hashes and compares.

Python does so for any key in a file while it loads the file. A pair of twice the same pair, nested
40 deep, takes 2⁴⁰ steps to hash. Numbers with equal hashes are each compared with all before them,
and an attacker can choose such numbers; the hashes of strings cannot be predicted.
"""

from __future__ import annotations

from collections.abc import Iterable

from convlast.checkpoints.guard.handing import Handing
from convlast.errors import MalformedCheckpointError

_MAX_UNUSUAL = 4096
"""The most keys in one pickle that are neither text nor plain numbers; few real files have any."""

_MAX_PARTS = 100
"""The most parts of a key that is a tuple, including nested ones."""

_MAX_CHARACTERS = 1000
"""The most characters of all strings in a key that is a tuple."""

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
            self._unusual += 1
            if self._unusual > _MAX_UNUSUAL or not _is_small(key):
                raise MalformedCheckpointError(
                    "Its pickle has keys that are neither text nor plain numbers, "
                    "and they are too many or too large to compare."
                )


def _is_plain(key: object) -> bool:
    return isinstance(key, int) and -_PLAIN <= key < _PLAIN


def _is_small(key: object) -> bool:
    """Say whether a key has few parts, counting a part each time that it is referred to."""
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
