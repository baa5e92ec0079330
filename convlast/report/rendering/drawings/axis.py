"""Axes: where a value is, in percent of the width, and which values have a tick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Axis(Protocol):
    """A horizontal axis."""

    def at(self, value: float) -> float:
        """Return the place of a value, in percent of the width."""

    def ticks(self) -> list[float]:
        """Return the values that have a tick."""


@dataclass(frozen=True)
class LogAxis:
    """An axis on which equal factors have equal lengths.

    Attributes:
        least: The value at the left end, above zero.
        most: The value at the right end.
    """

    least: float
    most: float

    def at(self, value: float) -> float:
        """Return the place of a value; a value beyond an end is at that end.

        >>> axis = LogAxis(0.01, 100)
        >>> round(axis.at(1), 6), axis.at(0), axis.at(math.inf)
        (50.0, 0.0, 100.0)
        """
        if not value > self.least:
            return 0.0
        if value >= self.most:
            return 100.0
        # Differences of logarithms: the quotient of two extreme values may overflow.
        least = math.log(self.least)
        place = 100 * (math.log(value) - least) / (math.log(self.most) - least)
        return min(max(place, 0.0), 100.0)  # rounding may lead beyond an end

    def ticks(self) -> list[float]:
        """Return the powers of ten on the axis, at most seven of them.

        >>> LogAxis(0.002, 30).ticks()
        [0.01, 0.1, 1.0, 10.0]
        """
        first = math.ceil(round(math.log10(self.least), 9))
        last = math.floor(round(math.log10(self.most), 9))
        step = max(1, math.ceil((last - first + 1) / 7))
        return [float(f"1e{power}") for power in range(first, last + 1, step)]


@dataclass(frozen=True)
class LinearAxis:
    """An axis from zero.

    Attributes:
        most: The value at the right end, above zero.
    """

    most: float

    def at(self, value: float) -> float:
        """Return the place of a value; a value beyond an end is at that end.

        >>> axis = LinearAxis(4)
        >>> axis.at(1), axis.at(-1), axis.at(5)
        (25.0, 0.0, 100.0)
        """
        return 100 * min(max(value / self.most, 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Return three to five multiples of 1, 2 or 5 times a power of ten, from zero on.

        >>> LinearAxis(0.07).ticks()
        [0.0, 0.02, 0.04, 0.06]
        """
        power = math.floor(math.log10(self.most))
        steps = (float(f"{digit}e{power + shift}") for shift in (-1, 0) for digit in (1, 2, 5))
        step = next(step for step in steps if self.most / step < 5)
        number = math.floor(self.most / step * (1 + 1e-9))
        return [float(f"{step * index:.6g}") for index in range(number + 1)]


def axis_for(values: Sequence[float], *, widest: float = 30.0) -> LinearAxis | LogAxis:
    """Choose the axis for values above zero: a linear one, unless they are factors apart.

    Args:
        values: The values that have to be on it, at least one.
        widest: The largest factor between two of them for which the axis is linear.

    >>> axis_for([1, 9]), axis_for([1, 1000])
    (LinearAxis(most=9.9), LogAxis(least=0.5, most=2000))
    """
    least, most = min(values), max(values)
    return LinearAxis(most * 1.1) if most <= least * widest else LogAxis(least / 2, most * 2)
