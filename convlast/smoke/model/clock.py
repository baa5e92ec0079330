"""Timing two functions against each other until it is known which is faster, or time is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from statistics import median, quantiles
from time import perf_counter
from typing import TypeAlias

import torch

Clock: TypeAlias = Callable[[Callable[[], object]], float]
"""Calls a function and returns how many seconds that took."""

WARMUPS = 3
"""Runs before the first timed one: kernels are chosen and memory is allocated in them."""

LEAST_S = 0.005
"""The shortest time that one timing may take. On an idle GPU the time of a short forward is mostly
the launch of its first kernel, so several forwards are run in a row."""

MOST_RUNS = 50
"""The most runs in one timing."""

LEAST_ROUNDS = 8
"""The fewest pairs that are timed; quartiles of fewer say nothing."""

TOLERANCE = 0.01
"""The uncertainty of the median ratio at which it counts as stable."""


@dataclass(frozen=True)
class Race:
    """The result of timing two functions against each other.

    Attributes:
        first_s: The time of the first in each round.
        second_s: The time of the second in each round.
        is_stable: Whether the median ratio is known to `TOLERANCE`.
    """

    first_s: tuple[float, ...]
    second_s: tuple[float, ...]
    is_stable: bool

    @property
    def speedup(self) -> float:
        """How many times as fast the second is: the median over the rounds."""
        return median(self._ratios)

    @property
    def spread(self) -> float:
        """Half the interquartile range of the ratio."""
        return _spread(self._ratios)

    @property
    def _ratios(self) -> list[float]:
        return ratios_of(self.first_s, self.second_s)


def race(
    first: Callable[[], object],
    second: Callable[[], object],
    clock: Clock,
    *,
    limit_s: float,
    least_rounds: int = LEAST_ROUNDS,
) -> Race:
    """Time two functions in turns, in alternating order, so that drift affects both alike.

    Args:
        first: The first function.
        second: The second function.
        clock: Calls and times a function.
        limit_s: Seconds after which no further round begins.
        least_rounds: Rounds that are run however long they take.
    """
    began_s = perf_counter()
    things = first, second
    warm_s = [min(clock(thing) for thing in things) for _ in range(WARMUPS)]
    runs = runs_for(warm_s[-1])
    times: tuple[list[float], list[float]] = [], []
    for number in count(1):
        for index in (0, 1) if number % 2 else (1, 0):
            times[index].append(_time(things[index], clock, runs))
        if number < least_rounds:
            continue
        if is_stable(ratios_of(*times)) or perf_counter() - began_s > limit_s:
            break
    return Race(tuple(times[0]), tuple(times[1]), is_stable(ratios_of(*times)))


def runs_for(seconds: float) -> int:
    """Return how many runs one timing needs if a run takes this many seconds.

    >>> runs_for(0.1), runs_for(0.002), runs_for(0.0)
    (1, 3, 50)
    """
    return max(1, min(MOST_RUNS, ceil(LEAST_S / max(seconds, 1e-9))))


def _time(run: Callable[[], object], clock: Clock, runs: int) -> float:
    """Return the seconds of one run, averaged over several in a row."""

    def repeat() -> None:
        for _ in range(runs):
            run()

    return clock(repeat) / runs


def is_stable(ratios: Sequence[float]) -> bool:
    """Say whether the median is known well; its error shrinks with the square root of the number.

    >>> is_stable([1.0, 1.01] * 8), is_stable([1.0, 2.0] * 8), is_stable([1.0, 1.0])
    (True, False, False)
    """
    if len(ratios) < LEAST_ROUNDS:
        return False
    return bool(_spread(ratios) / len(ratios) ** 0.5 < TOLERANCE * median(ratios))


def ratios_of(first_s: Sequence[float], second_s: Sequence[float]) -> list[float]:
    """Return the ratio of each round.

    >>> ratios_of([2.0, 3.0], [1.0, 1.0])
    [2.0, 3.0]
    """
    return [before / max(after, 1e-9) for before, after in zip(first_s, second_s, strict=True)]


def clock_of(device: torch.device) -> Clock:
    """Return the clock for a device: CUDA events, or the wall clock on a CPU."""
    return _on_device(device) if device.type == "cuda" else _on_cpu


def _on_cpu(run: Callable[[], object]) -> float:
    began_s = perf_counter()
    run()
    return perf_counter() - began_s


def _on_device(device: torch.device) -> Clock:
    def clock(run: Callable[[], object]) -> float:
        with torch.cuda.device(device):
            start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            start.record()
            run()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    return clock


def _spread(ratios: Sequence[float]) -> float:
    if len(ratios) < 2:
        return 0.0
    lower, _, upper = quantiles(ratios, n=4)
    return (upper - lower) / 2
