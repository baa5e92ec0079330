"""The keys of dicts and the elements of sets in a pickle: what Python hashes and compares.

It does so while a file is loaded, with whatever stands there. A tuple of two that are one, of two
that are one ... takes 2⁴⁰ steps to hash. Numbers that all have one hash are each compared with all
before them, and whoever makes a file can choose such numbers; texts have a hash that cannot be
foreseen.
"""

from __future__ import annotations

from collections.abc import Iterable

from convlast.checkpoints.values import Dict, Global, List
from convlast.errors import MalformedCheckpointError

_HASHING = {
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "__builtin__.set",
}
"""What hashes its arguments when it is called."""

_REBUILDING = "torch._tensor._rebuild_from_type_v2"
"""Calls what it is given, with the arguments it is given."""

_MAX_UNUSUAL = 4096
"""Keys in one pickle that are neither text nor a plain number; few real ones have any."""

_MAX_PARTS = 100
"""Parts of a tuple that is a key, and theirs."""

_PLAIN = 1 << 63
"""Numbers below this have hashes of their own, but for a handful."""


class Keys:
    """The keys of one pickle."""

    def __init__(self) -> None:
        self._unusual = 0

    def take(self, keys: Iterable[object]) -> None:
        """Take some keys.

        Raises:
            MalformedCheckpointError: If hashing them could take long.
        """
        for key in keys:
            if isinstance(key, str | bytes | float | None) or _is_plain(key):
                continue
            self._unusual += 1
            if self._unusual > _MAX_UNUSUAL or not _is_small(key):
                raise MalformedCheckpointError(
                    "Its pickle has keys that are neither text nor plain numbers, "
                    "and too many or too large ones to compare."
                )

    def take_arguments(self, called: object, arguments: object) -> None:
        """Take what a call will hash, if it will.

        Raises:
            MalformedCheckpointError: If hashing it could take long.
        """
        # Nothing but a name is written out: a few bytes can stand for a tuple without end.
        name = str(called) if isinstance(called, Global) else ""
        if name == _REBUILDING and isinstance(arguments, tuple) and len(arguments) > 2:
            called, arguments = arguments[0], arguments[2]
            name = str(called) if isinstance(called, Global) else ""
        if name in _HASHING:
            for argument in _items(arguments):
                for element in _items(argument):
                    self.take([element])
                    self.take(list(_items(element))[:1])  # of the pairs for an OrderedDict


def _items(value: object) -> Iterable[object]:
    if isinstance(value, Dict):
        return [key for key, _ in value.pairs]
    if isinstance(value, List):
        return value.items
    return value if isinstance(value, tuple) else ()


def _is_plain(key: object) -> bool:
    return isinstance(key, int) and -_PLAIN <= key < _PLAIN


def _is_small(key: object) -> bool:
    """Say whether a key has few parts, however often each of them is referred to."""
    waiting = [key]
    for _ in range(_MAX_PARTS):
        if not waiting:
            return True
        value = waiting.pop()
        if isinstance(value, tuple):
            waiting.extend(value[: _MAX_PARTS + 1])
    return not waiting
