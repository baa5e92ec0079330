"""Many names or messages in short: the first ones, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

from convlast.report.rendering.notation import cut

_MOST_MESSAGES, _MOST_BYTES = 5, 500


def listed(names: Sequence[str], *, at_most: int) -> str:
    """List the first names, and the number of the others.

    >>> listed(["a", "b", "c", "d"], at_most=2)
    'a, b and 2 more'
    >>> listed(["a", "b"], at_most=2)
    'a, b'
    """
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def in_short(messages: Sequence[str]) -> str:
    """Join the first messages, each of them cut if it is long, and say how many more there are.

    >>> in_short([f"No {number}." for number in range(7)])
    'No 0. No 1. No 2. No 3. No 4. And 2 more.'
    """
    left_out = len(messages) - _MOST_MESSAGES
    told = [cut(each, _MOST_BYTES) for each in messages[:_MOST_MESSAGES]]
    return " ".join([*told, f"And {left_out:,} more."] if left_out > 0 else told)
