"""Many names in one sentence: the first ones, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], *, at_most: int) -> str:
    """List the first names, and the number of the others.

    >>> listed(["a", "b", "c", "d"], at_most=2)
    'a, b and 2 more'
    >>> listed(["a", "b"], at_most=2)
    'a, b'
    """
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
