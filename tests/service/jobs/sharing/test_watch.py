"""Which services are gone, by a clock that the test sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.jobs.sharing.watch import BEAT_S, SILENCE_S, Watch


class Clock:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now_s


def test_a_service_lives_while_its_sign_changes() -> None:
    """However long that is, and whatever the sign says."""
    clock = Clock()
    watch = Watch(clock)
    for number in range(100):
        clock.now_s += BEAT_S
        assert watch.looks_at({"a": str(number)}) == {"a"}


def test_a_service_whose_sign_stays_is_gone_after_a_while() -> None:
    """Not before, and it comes back with its next sign."""
    clock = Clock()
    watch = Watch(clock)
    alive = []
    for _ in range(10):
        alive.append((clock.now_s, watch.looks_at({"a": "1"}) == {"a"}))
        clock.now_s += BEAT_S
    assert {is_alive for now_s, is_alive in alive if now_s < SILENCE_S} == {True}
    assert {is_alive for now_s, is_alive in alive if now_s >= SILENCE_S} == {False}
    assert watch.looks_at({"a": "2"}) == {"a"}


def test_a_service_without_a_sign_is_gone() -> None:
    """It has ended in order."""
    assert Watch().looks_at({}) == set()


@given(st.floats(0, 1e6))
def test_nobody_is_gone_after_a_time_without_the_store(away_s: float) -> None:
    """All services were silent meanwhile: each gets the time to give its next sign."""
    clock = Clock()
    watch = Watch(clock)
    watch.looks_at({"a": "1"})
    clock.now_s += away_s
    assert watch.looks_at({"a": "1"}) == {"a"}
    clock.now_s += BEAT_S
    assert watch.looks_at({"a": "1"}) == {"a"}
