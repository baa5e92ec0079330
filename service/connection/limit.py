"""How many connections may be open at once, and which is closed when one more comes."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

PROBES = {"/livez", "/readyz", "/metrics"}
"""What is answered even beyond the limit, since whoever watches the service has to know."""

MAX_SPARE = 64
"""Connections beyond the limit; each may ask for a probe, and the oldest of them goes first."""

GRACE_S = 0.25
"""Seconds in which one that has just become idle is left alone: its request may be on the way."""

_PAUSE_S = 0.05


class Limited(Protocol):
    """A connection, as far as the limit looks at it."""

    client_share: str
    """The address, or the network, that it comes from."""

    since_s: float
    """When it began to do what it does now."""

    @property
    def has_its_answer(self) -> bool:
        """Whether its request is answered, though it may still be sending."""

    @property
    def is_idle(self) -> bool:
        """Whether it has no request that is not answered."""

    def abort(self) -> None:
        """Close it at once."""


def share_of_limit(max_connections: int) -> int:
    """Give how many connections one address may have: three of four.

    A reverse proxy is one address too, and must get along with this.

    >>> share_of_limit(512), share_of_limit(2), share_of_limit(1)
    (384, 2, 1)
    """
    return max_connections - max_connections // 4


class ConnectionLimit:
    """The connections of a service, and who of them goes when there are too many.

    One that has its answer goes first, then the one that has been idle for longest. If an address
    has too many, it loses one of its own. What is being answered is never closed: in that case the
    newest is spare.
    """

    def __init__(
        self, max_connections: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up the limit.

        Args:
            max_connections: How many may be open.
            clock: Gives the time in seconds, for `Limited.since_s` too.
        """
        self.max_connections = max_connections
        self._clock = clock
        self._open: dict[str, set[Limited]] = defaultdict(set)
        self._count = 0
        self._spare: dict[Limited, None] = {}
        self._closable: dict[str | None, deque[Limited]] = defaultdict(deque)
        self._none_found_at_s: dict[str | None, float] = {}

    def admit(self, newest: Limited) -> None:
        """Count a connection, and close another if it is one too many."""
        share = newest.client_share
        if len(self._open[share]) >= share_of_limit(self.max_connections):
            has_room = self._close_one(share)
        else:
            has_room = self._count < self.max_connections or self._close_one(None)
        if has_room:
            self._open[share].add(newest)
            self._count += 1
            return
        if len(self._spare) >= MAX_SPARE:
            self._close(next(iter(self._spare)))
        self._spare[newest] = None

    def is_spare(self, connection: Limited) -> bool:
        """Say whether it came when nobody could make room for it: it may ask for a probe."""
        return connection in self._spare

    def forget(self, connection: Limited) -> None:
        """Count a connection no more; once is enough, and more does no harm."""
        self._spare.pop(connection, None)
        own = self._open[connection.client_share]
        if connection in own:
            own.remove(connection)
            self._count -= 1
        if not own:
            share = connection.client_share
            for kept in (self._open, self._closable, self._none_found_at_s):
                kept.pop(share, None)

    def _close(self, connection: Limited) -> None:
        """Close a connection, and forget it at once: the event loop tells of its end only later."""
        self.forget(connection)
        connection.abort()

    def _close_one(self, share: str | None) -> bool:
        """Close the connection that is missed least; say whether there was one.

        Args:
            share: Where it has to come from; none: anywhere.
        """
        while (chosen := self._next(share)) is not None:
            if chosen in self._open.get(chosen.client_share, ()) and self._may_go(chosen):
                self._close(chosen)
                return True
        return False

    def _next(self, share: str | None) -> Limited | None:
        """Take the next of those that an earlier look has found, or look again.

        In a flood each look would be at hundreds of connections. So one look serves for many that
        come, and one that has found nothing for all that come in the next moment.
        """
        waiting = self._closable[share]
        if not waiting and self._clock() - self._none_found_at_s.get(share, -math.inf) > _PAUSE_S:
            waiting.extend(sorted(self._candidates(share), key=_closing_order))
            if not waiting:
                self._none_found_at_s[share] = self._clock()
        return waiting.popleft() if waiting else None

    def _candidates(self, share: str | None) -> Iterable[Limited]:
        groups = self._open.values() if share is None else [self._open[share]]
        return (each for group in groups for each in group if self._may_go(each))

    def _may_go(self, connection: Limited) -> bool:
        return connection.has_its_answer or (
            connection.is_idle and connection.since_s <= self._clock() - GRACE_S
        )


def _closing_order(connection: Limited) -> tuple[bool, float]:
    return not connection.has_its_answer, connection.since_s
