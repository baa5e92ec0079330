"""Two things timed against each other, with clocks that tests set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, count, repeat

import pytest
import torch

from convlast.smoke.model.clock import LEAST_ROUNDS, WARMUPS, clock_of, race

RAN: list[str] = []


def first() -> object:
    """Stand for the first function."""
    RAN.append("first")
    return None


def second() -> object:
    """Stand for the second function."""
    RAN.append("second")
    return None


def scripted(*, of_first: Iterator[float], of_second: Iterator[float]) -> Callable[..., float]:
    """Return a clock that takes the time of each run from two scripts."""

    def clock(run: Callable[[], object]) -> float:
        RAN.clear()
        run()
        return sum(next(of_first if name == "first" else of_second) for name in RAN)

    return clock


def test_a_steady_ratio_is_found_in_the_fewest_rounds() -> None:
    """A function that takes half the time is twice as fast, without spread."""
    found = race(first, second, scripted(of_first=repeat(2.0), of_second=repeat(1.0)), limit_s=60)
    assert (found.speedup, found.spread, found.is_stable) == (2.0, 0.0, True)
    assert len(found.first_s) == LEAST_ROUNDS


def test_warming_up_does_not_count() -> None:
    """The first runs are slow, and do not count."""
    clock = scripted(of_first=chain([99.0] * WARMUPS, repeat(1.0)), of_second=repeat(1.0))
    assert race(first, second, clock, limit_s=60).speedup == 1.0


def test_short_runs_are_timed_several_in_a_row() -> None:
    """Short functions run several times in a row, so that a GPU's kernel launch counts little."""
    runs: list[int] = []

    def clock(run: Callable[[], object]) -> float:
        RAN.clear()
        run()
        runs.append(len(RAN))
        return 0.001 * len(RAN) + 0.0001  # the launch is paid once

    found = race(first, second, clock, limit_s=60)
    assert runs[: 2 * WARMUPS] == [1] * 2 * WARMUPS
    assert set(runs[2 * WARMUPS :]) == {5}
    assert found.first_s[0] == pytest.approx(0.00102)


def test_times_that_never_settle_are_unstable() -> None:
    """The time limit ends the race, and the result says that it is not stable."""
    wild = (1.0 + 3.0 * (number % 2) for number in count())
    found = race(first, second, scripted(of_first=wild, of_second=repeat(1.0)), limit_s=0.0)
    assert not found.is_stable
    assert found.spread > 0.5


def test_drift_falls_on_both() -> None:
    """A device that gets slower from run to run does not favour the one that goes first."""
    now = count(100)
    found = race(first, second, lambda _run: float(next(now)), limit_s=0.0, least_rounds=40)
    assert abs(found.speedup - 1) < 0.01


def test_the_cpus_clock_runs_what_it_times() -> None:
    """The clock of a CPU returns seconds."""
    ran: list[int] = []
    assert clock_of(torch.device("cpu"))(lambda: ran.append(1)) >= 0
    assert ran == [1]
