"""The limit on open connections, and which one is closed when a new one exceeds it."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

PROBES = {"/livez", "/readyz", "/metrics"}
"""Paths that are answered beyond the limit too, so that monitoring still works."""

MAX_SPARE = 64
"""Connections beyond the limit, which may only ask for a probe. The oldest is closed first."""

GRACE_S = 0.25
"""A connection is not closed in its first idle seconds: its request may be on the way."""

_PAUSE_S = 0.05
"""Seconds before the connections are searched again after a search that found none to close."""


class Limited(Protocol):
    """The part of a connection that the limit needs."""

    client_share: str
    """The address or the network that it comes from."""

    since_s: float
    """When its current state began."""

    @property
    def has_its_answer(self) -> bool:
        """Whether its request is answered, though the client may still be sending it."""

    @property
    def is_idle(self) -> bool:
        """Whether it has no unanswered request."""

    def abort(self) -> None:
        """Close the connection at once."""


def share_of_limit(max_connections: int) -> int:
    """Return how many connections one address may have: three quarters.

    A reverse proxy is one address too, and has to manage with this.

    >>> share_of_limit(512), share_of_limit(2), share_of_limit(1)
    (384, 2, 1)
    """
    return max_connections - max_connections // 4


class ConnectionLimit:
    """The open connections of a service.

    At the limit a connection that has its answer is closed, or else the one that has been idle
    longest. An address at its own limit loses one of its own connections. A connection with an
    unanswered request is never closed; if all have one, the new connection is a spare one.
    """

    def __init__(
        self, max_connections: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up the limit.

        Args:
            max_connections: How many may be open.
            clock: Returns the time in seconds; `Limited.since_s` is by the same clock.
        """
        self.max_connections = max_connections
        self._clock = clock
        self._open: dict[str, set[Limited]] = defaultdict(set)
        self._count = 0
        self._spare: dict[Limited, None] = {}
        self._closable: dict[str | None, deque[Limited]] = defaultdict(deque)
        self._none_found_at_s: dict[str | None, float] = {}

    @property
    def count(self) -> int:
        """How many connections are open."""
        return self._count + len(self._spare)

    def admit(self, newest: Limited) -> None:
        """Count a new connection, and close another one at the limit."""
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
        """Return whether a connection is beyond the limit and may only ask for a probe."""
        return connection in self._spare

    def forget(self, connection: Limited) -> None:
        """Stop counting a connection; calling this again has no effect."""
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
        """Close a connection, and forget it now: the event loop reports the close only later."""
        self.forget(connection)
        connection.abort()

    def _close_one(self, share: str | None) -> bool:
        """Close the first connection in closing order, and return whether there was one.

        Args:
            share: The address that it has to come from, or none for any.
        """
        while (chosen := self._next(share)) is not None:
            if chosen in self._open.get(chosen.client_share, ()) and self._may_go(chosen):
                self._close(chosen)
                return True
        return False

    def _next(self, share: str | None) -> Limited | None:
        """Return the next connection that the last search found, or search again.

        A search looks at hundreds of connections, too many to repeat for each new one in a flood.
        So its result serves many new connections, and an empty one serves for `_PAUSE_S`.
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
