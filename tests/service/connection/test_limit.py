"""Which connection is closed at the limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.connection.limit import GRACE_S, MAX_SPARE, ConnectionLimit, share_of_limit
from tests.service.clock import Clock

PROXY, OTHER = "anonymous 10.0.0.1", "anonymous 10.0.0.2"


class Connection:
    """A fake connection, as the limit sees it."""

    def __init__(self, clock: Clock, share: str = PROXY) -> None:
        self.client_share = share
        self.since_s = clock()
        self.is_idle = True
        self.has_its_answer = False
        self.is_open = True
        self.was_counted = True

    def abort(self) -> None:
        """Close the connection; a real event loop would report that later."""
        self.is_open = False


Come = Callable[..., Connection]


@pytest.fixture
def clock() -> Clock:
    """Return a clock that a test moves."""
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> ConnectionLimit:
    """Return a limit of eight connections, of which one address may have six."""
    return ConnectionLimit(8, clock=clock)


@pytest.fixture
def come(limit: ConnectionLimit, clock: Clock) -> Come:
    """Return a function that opens a connection, each long after the last."""

    def come(share: str = PROXY, *, is_idle: bool = True, is_answered: bool = False) -> Connection:
        clock.pass_by(1)
        connection = Connection(clock, share)
        connection.is_idle, connection.has_its_answer = is_idle, is_answered
        limit.admit(connection)
        return connection

    return come


def test_who_has_an_answer_goes_first(come: Come) -> None:
    """A connection that has its answer is closed before the oldest idle one."""
    idle = come()
    answered = come(is_idle=False, is_answered=True)
    others = [come() for _ in range(5)]
    assert not answered.is_open
    assert idle.is_open
    assert all(each.is_open for each in others)


def test_who_is_idle_for_longest_goes_next(come: Come) -> None:
    """If no connection has its answer, the one that has been idle longest is closed."""
    connections = [come() for _ in range(8)]
    assert [each.is_open for each in connections] == [False, False, *[True] * 6]


def test_what_is_being_answered_stays(come: Come, limit: ConnectionLimit) -> None:
    """If every connection has an unanswered request, the new one is spare."""
    working = [come(is_idle=False) for _ in range(6)]
    newest = come()
    assert limit.is_spare(newest)
    assert all(each.is_open for each in working)


def test_who_has_just_come_is_left_alone(limit: ConnectionLimit, clock: Clock, come: Come) -> None:
    """A connection in its first idle moments is not closed: its request may be on the way."""
    working = [come(is_idle=False) for _ in range(5)]
    fresh = come()
    clock.pass_by(GRACE_S / 2)
    pressing = Connection(clock)
    limit.admit(pressing)
    assert fresh.is_open
    assert limit.is_spare(pressing)
    assert all(each.is_open for each in working)


def test_an_address_loses_its_own(come: Come, limit: ConnectionLimit) -> None:
    """An address at its own limit closes no connection of another address."""
    other = come(OTHER)
    own = [come() for _ in range(12)]
    assert other.is_open
    assert sum(each.is_open for each in own) == share_of_limit(8)
    assert not limit.is_spare(own[-1])


def test_two_addresses_fill_all_places(come: Come) -> None:
    """At the overall limit, the oldest connection is closed, whatever its address."""
    first = [come(OTHER) for _ in range(3)]
    others = [come() for _ in range(6)]
    assert not first[0].is_open
    assert all(each.is_open for each in first[1:] + others)


def test_spare_connections_are_few(come: Come, limit: ConnectionLimit) -> None:
    """At the limit of spare connections the oldest of them is closed."""
    working = [come(is_idle=False) for _ in range(6)]
    spare = [come() for _ in range(MAX_SPARE + 3)]
    assert [each.is_open for each in spare] == [*[False] * 3, *[True] * MAX_SPARE]
    assert all(each.is_open for each in working)
    assert limit.is_spare(spare[-1])


def test_a_place_that_is_left_is_free(come: Come, limit: ConnectionLimit) -> None:
    """A connection that is gone is forgotten, even if that is reported twice."""
    working = [come(is_idle=False) for _ in range(6)]
    limit.forget(working[0])
    limit.forget(working[0])
    assert not limit.is_spare(come())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("iwa"), st.booleans())))
def test_the_bounds_always_hold(
    steps: list[tuple[str, str, bool]],
) -> None:
    """The limits hold for any sequence, and a connection with a request is never closed."""
    clock = Clock()
    limit = ConnectionLimit(8, clock=clock)
    connections: list[Connection] = []
    for share, state, leaves in steps:
        clock.pass_by(1)
        connection = Connection(clock, share)
        connection.is_idle = state == "i"
        connection.has_its_answer = state == "a"
        limit.admit(connection)
        connection.was_counted = not limit.is_spare(connection)
        connections.append(connection)
        if leaves:
            left = connections.pop(len(steps) % len(connections))
            left.abort()
            limit.forget(left)
        working = [each for each in connections if not (each.is_idle or each.has_its_answer)]
        assert all(each.is_open or not each.was_counted for each in working)
        open_ = [each for each in connections if each.is_open]
        spare = [each for each in open_ if limit.is_spare(each)]
        counted = [each for each in open_ if each not in spare]
        assert len(counted) <= 8
        assert len(spare) <= MAX_SPARE
        for name in "abc":
            assert sum(each.client_share == name for each in counted) <= share_of_limit(8)
