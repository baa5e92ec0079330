"""How many connections may be open at once, and which is closed when one more comes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

PROBES = {"/livez", "/readyz", "/metrics"}
"""What is answered even beyond the limit, since whoever watches the service has to know."""

MAX_SPARE = 64
"""Connections beyond the limit; each may ask for a probe, and the oldest of them goes first."""


class Limited(Protocol):
    """A connection, as far as the limit looks at it."""

    client_share: str
    """The address, or the network, that it comes from."""

    since: float
    """When it began to do what it does now, by the clock of the loop, in seconds."""

    is_spare: bool
    """Whether it came when nobody could make room for it."""

    @property
    def has_its_answer(self) -> bool:
        """Whether its last request is answered, though it may still be sending."""

    @property
    def is_idle(self) -> bool:
        """Whether it has no request that is not answered."""

    @property
    def is_closing(self) -> bool:
        """Whether it is as good as gone."""

    def abort(self) -> None:
        """Close it at once."""


def share_of_limit(max_connections: int) -> int:
    """Give how many connections one address may have: three of four.

    A reverse proxy is one address too, and must get along with this.

    >>> share_of_limit(512), share_of_limit(2), share_of_limit(1)
    (384, 2, 1)
    """
    return max_connections - max_connections // 4


def make_room(newest: Limited, connections: Iterable[Limited], max_connections: int) -> None:
    """Close the connection that is missed least, where this one is too many; else it is spare.

    One that has its answer goes first, then the one that has been idle for longest. Whoever has too
    many of one address gives up one of its own. One that is being answered is never closed.
    """
    others = [each for each in connections if each is not newest and not each.is_closing]
    counted = [each for each in others if not each.is_spare]
    own = [each for each in counted if each.client_share == newest.client_share]
    if len(own) >= share_of_limit(max_connections):
        counted = own
    elif len(counted) < max_connections:
        return
    if not _close_one(each for each in counted if each.has_its_answer or each.is_idle):
        newest.is_spare = True
        spare = [each for each in others if each.is_spare]
        if len(spare) >= MAX_SPARE:
            _close_one(spare)


def _close_one(connections: Iterable[Limited]) -> bool:
    """Close the one that is missed least; say whether there was one."""
    chosen = min(connections, key=lambda each: (not each.has_its_answer, each.since), default=None)
    if chosen is None:
        return False
    chosen.abort()
    return True
