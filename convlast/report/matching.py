"""Matches the things that two reports have in common, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")


def matched(
    before: Iterable[T], after: Iterable[T], key: Callable[[T], Hashable]
) -> tuple[list[tuple[T, T]], list[T], list[T]]:
    """Return the pairs with the same key, and the things that only one side has, in their order.

    >>> matched("aAb", "abc", key=str.lower)
    ([('a', 'a'), ('b', 'b')], ['A'], ['c'])
    """
    old, new = _numbered(before, key), _numbered(after, key)
    return (
        [(old[name], new[name]) for name in old if name in new],
        [found for name, found in old.items() if name not in new],
        [found for name, found in new.items() if name not in old],
    )


def _numbered(found: Iterable[T], key: Callable[[T], Hashable]) -> dict[Hashable, T]:
    """Return things by key and number: the first with a key has 0, the second 1."""
    seen: Counter[Hashable] = Counter()
    numbered: dict[Hashable, T] = {}
    for each in found:
        name = key(each)
        numbered[name, seen[name]] = each
        seen[name] += 1
    return numbered
