"""`select=fastest`: which layers to convert, by measurement inside the model.

A layer that is faster alone may cost its neighbours a permutation, so sets of layers are timed in
the whole model: all, none, the layers whose own kernels got faster, and then variants of the best
set in which one of the model's blocks is added or removed. The best of many timings is partly luck,
so a set of some layers is chosen only if it is timed again and beats both all and none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import TypeAlias

import torch

from convlast.report.smoke import NOISE, Choice, Dispatch
from convlast.smoke.model.dispatch import profile
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.timing import Setting, pair_of, race_of

LIMIT_S = 60.0
"""Seconds that the search for a better set may take."""

RACE_S = 3.0
"""Seconds that the timing of one set may take."""

Names: TypeAlias = frozenset[str]


@dataclass(frozen=True)
class Measured:
    """The time of a set of converted layers, compared with converting none.

    Attributes:
        seconds: The median forward.
        speedup: How many times as fast as none, timed in turns with it.
        spread: Half the interquartile range of the speedup.
    """

    seconds: float
    speedup: float
    spread: float


def search(
    layers: Sequence[str],
    measure: Callable[[Names], Measured],
    *,
    guess: Callable[[], Names],
    is_time_up: Callable[[], bool] = lambda: False,
) -> dict[Names, Measured]:
    """Measure sets of layers, improving the best one, and return the measurement of each.

    All and none are always among them.

    Args:
        layers: The layers that may be converted.
        measure: Times one set.
        guess: Returns a set that may be faster than all and none. It is called after both are
            measured, because it may use the profiler, which slows down all later runs.
        is_time_up: Ends the search once it returns true.
    """
    found: dict[Names, Measured] = {}
    everything: Names = frozenset(layers)
    for names in (everything, frozenset[str]()):
        if names not in found:
            found[names] = measure(names)
    if (guessed := guess()) not in found:
        found[guessed] = measure(guessed)
    best = max(found, key=lambda names: found[names].speedup)
    for block in blocks_of(layers):
        if is_time_up():
            break
        other = best - block if block <= best else best | block
        if other not in found:
            found[other] = measure(other)
        if found[other].speedup > found[best].speedup * (1 + NOISE):
            best = other
    return found


def chosen(found: dict[Names, Measured], layers: Sequence[str]) -> Choice:
    """Choose the fastest of the sets; none, if no other is faster beyond the noise."""
    nothing, everything = frozenset[str](), frozenset(layers)
    best = max(found, key=lambda names: found[names].speedup)
    if found[best].speedup - 1 <= max(NOISE, found[best].spread / 2):
        best = nothing
    elif found[everything].speedup * (1 + NOISE) >= found[best].speedup:
        best = everything  # the simplest that is as good
    kinds = {everything: "all", nothing: "none"}
    seconds = {kinds.get(names, "some"): found[names].seconds for names in (nothing, everything)}
    seconds |= {kinds.get(best, "some"): found[best].seconds}
    return Choice(
        chosen="all" if best == everything else "none" if best == nothing else "some",
        layers=[name for name in layers if name in best],
        seconds=seconds,
        speedup=found[best].speedup,
        spread=found[best].spread,
    )


def confirmed(
    found: dict[Names, Measured], layers: Sequence[str], again: Callable[[Names, Names], float]
) -> Choice:
    """Choose a set; if it is some of the layers, time it again against the better of all and none.

    Args:
        found: The measurements, including those of all and none.
        layers: The layers that may be converted.
        again: Times two sets against each other, and returns how many times as fast the second is.
    """
    choice = chosen(found, layers)
    if choice.chosen != "some":
        return choice
    simple = {names: found[names] for names in (frozenset(layers), frozenset[str]())}
    better = max(simple, key=lambda names: simple[names].speedup)
    is_faster = again(better, frozenset(choice.layers)) > 1 + NOISE
    return choice if is_faster else chosen(simple, layers)


def blocks_of(layers: Sequence[str]) -> Iterator[Names]:
    """Yield the model's blocks, large ones first: the layers whose names share a prefix.

    >>> [sorted(block) for block in blocks_of(["stem.w", "body.0.w", "body.1.w"])]
    [['stem.w'], ['body.0.w', 'body.1.w'], ['body.0.w'], ['body.1.w']]
    """
    seen: set[Names] = {frozenset(layers)}
    for depth in range(1, 1 + max((name.count(".") for name in layers), default=0)):
        prefixes = dict.fromkeys(tuple(name.split(".")[:depth]) for name in layers)
        for prefix in prefixes:
            block = frozenset(n for n in layers if tuple(n.split(".")[: len(prefix)]) == prefix)
            if block not in seen:
                seen.add(block)
                yield block


def choose_on_accelerator(
    make: partial[Specimen], samples: int, *, limit_s: float = LIMIT_S, race_s: float = RACE_S
) -> Choice:
    """Choose the layers of a model whose conversion makes it faster on this device.

    Args:
        make: Makes a specimen in fp32.
        samples: N of the input.
        limit_s: Seconds that the search for a better set may take.
        race_s: Seconds that the timing of one set may take.

    Returns:
        The choice; its layers are names of parameters in the module.
    """
    setting = Setting(samples)
    contiguous, candidate = pair_of(make, torch.float16)
    layers = list(candidate.converted)

    def again(rival: Names, names: Names) -> float:
        contiguous.lay_out(sorted(rival))
        candidate.lay_out(sorted(names))
        return race_of((contiguous, candidate), setting, race_s).speedup

    def measure(names: Names) -> Measured:
        candidate.lay_out(sorted(names))
        found = race_of((contiguous, candidate), setting, race_s)
        return Measured(median(found.second_s), found.speedup, found.spread)

    began_s = perf_counter()
    found = search(
        layers,
        measure,
        guess=lambda: _faster_alone(contiguous, candidate, setting.way),
        is_time_up=lambda: perf_counter() - began_s > limit_s,
    )
    return confirmed(found, layers, again)


def _faster_alone(contiguous: Specimen, converted: Specimen, way: Way) -> Names:
    """Return the layers whose own kernels take less time converted; all, if none were seen."""
    converted.lay_out()
    before = _seconds(profile(contiguous, way, "contiguous").dispatches)
    after = _seconds(profile(converted, way, "converted").dispatches)
    if not before.keys() & after.keys():
        return frozenset(converted.converted)
    return frozenset(
        name
        for name, owner in converted.owners().items()
        if name in converted.converted and after.get(owner, 0) < before.get(owner, 0)
    )


def _seconds(dispatches: Iterable[Dispatch]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for found in dispatches:
        totals[found.layer] = totals.get(found.layer, 0.0) + found.seconds
    return totals
