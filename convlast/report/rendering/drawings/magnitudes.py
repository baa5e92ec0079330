"""The magnitudes of tensors and activations, on an axis that is as long as fp16's range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convlast.report.rendering import notation
from convlast.report.rendering.drawings import svg
from convlast.report.rendering.drawings.axis import LogAxis
from convlast.report.rendering.drawings.names import shortened
from convlast.report.rendering.markup import Markup
from convlast.report.smoke import UNDERFLOW_SHARE, Activation, Range, Smoke

LEAST, MOST = 2.0**-24, 65504.0
"""The smallest and the largest magnitude that fp16 holds."""

AXIS = LogAxis(LEAST / 64, MOST * 64)
"""The axis has some room on both sides, for the values that leave fp16's range."""

MAX_ROWS = 40
"""The most rows that are drawn; the others share one row."""

_TICKS = {LEAST: "2⁻²⁴", 1e-4: "10⁻⁴", 0.1: "0.1", 100.0: "100", MOST: "65504"}
_NAMES = 34.0
_TOP, _ROW, _THICK = 24, 17, 8


@dataclass(frozen=True)
class Span:
    """The magnitudes of one tensor or activation.

    Attributes:
        name: Its name.
        largest: The largest magnitude; None if it is not finite.
        smallest: The smallest one other than zero; None if nobody knows, or all values are zero.
        overflows: Whether values become infinite in fp16, or are not finite already.
        vanishes: Whether more than a few values become zero in fp16.
    """

    name: str
    largest: float | None
    smallest: float | None
    overflows: bool = False
    vanishes: bool = False

    @property
    def is_all_zero(self) -> bool:
        """Whether there is no magnitude to draw."""
        return self.largest == 0

    @property
    def words(self) -> str:
        """Its magnitudes, in words."""
        if self.is_all_zero:
            return "all values are 0"
        largest = notation.magnitude(self.largest)
        if self.smallest is None:
            return f"at most {largest}" if self.largest is not None else largest
        return f"{notation.magnitude(self.smallest)} to {largest}"

    @property
    def nearness(self) -> tuple[bool, bool, float]:
        """How near it is to a limit of fp16; a nearer one sorts first."""
        if self.largest is None or self.is_all_zero:
            return not self.overflows, not self.vanishes, math.inf
        place = AXIS.at(self.largest)
        return not self.overflows, not self.vanishes, min(place, 100 - place)


def spans_of_tensors(smoke: Smoke) -> list[Span]:
    """Return the magnitudes of the file's tensors, in the order of the file."""
    found = {row.name: row for row in smoke.range}
    spans = [
        _of_tensor(found[row.name]) if row.name in found else Span(row.name, row.absmax, row.absmin)
        for row in smoke.magnitudes
    ]
    return spans or [_of_tensor(row) for row in smoke.range]


def spans_of_activations(smoke: Smoke) -> list[Span]:
    """Return the magnitudes of the modules' outputs, in the order of execution."""
    return [_of_activation(row) for row in smoke.activations]


def _of_tensor(row: Range) -> Span:
    overflows = row.overflow > 0 or row.nonfinite > 0
    vanishes = row.underflow_share > UNDERFLOW_SHARE
    return Span(row.name, row.absmax, row.absmin, overflows, vanishes)


def _of_activation(row: Activation) -> Span:
    overflows = row.overflow > 0 or row.absmax is None
    vanishes = row.underflow_share > UNDERFLOW_SHARE
    return Span(row.module, row.absmax, row.absmin, overflows, vanishes)


def ranges(spans: Sequence[Span], noun: str) -> Markup:
    """Draw a bar from the smallest to the largest magnitude of each.

    Args:
        spans: The magnitudes, at least one.
        noun: What has them, such as `tensor`.
    """
    drawn, others = _selected(spans)
    rows = [*drawn, *_together(others)]
    bottom = _TOP + _ROW * len(rows)
    middles = [_TOP + _ROW * (index + 0.5) for index in range(len(rows))]
    labels = [
        part for span, middle in zip(rows, middles, strict=True) for part in _label(span, middle)
    ]
    width = svg.room_for((span.name for span in rows), most=_NAMES)
    bars = [_bar(span, middle) for span, middle in zip(rows, middles, strict=True)]
    picture = svg.picture(
        _title(spans, noun),
        svg.part(*labels, left=0, width=width, kind="names"),
        svg.part(*_background(bottom), *bars, left=width + 1, width=98 - width, kind="plot"),
        height=bottom + 4,
        kind="ranges",
    )
    return svg.framed(picture)


def _title(spans: Sequence[Span], noun: str) -> str:
    """Say what the picture shows."""
    beyond = sum(span.overflows for span in spans)
    vanishing = sum(span.vanishes for span in spans)
    facts = [
        f"{notation.count(beyond, noun)} beyond 65504" if beyond else "",
        f"{notation.count(vanishing, noun)} with many values below 2⁻²⁴" if vanishing else "",
    ]
    told = " and ".join(filter(None, facts)) or "none leaves it"
    return (
        f"The smallest and largest magnitudes of {notation.count(len(spans), noun)} against the "
        f"range of fp16, from 2⁻²⁴ to 65504 on a logarithmic axis: {told}."
    )


def _selected(spans: Sequence[Span]) -> tuple[list[Span], list[Span]]:
    """Part the spans into those that are drawn and the others; those near a limit are drawn."""
    if len(spans) <= MAX_ROWS + 1:
        return list(spans), []
    nearest = sorted(range(len(spans)), key=lambda index: spans[index].nearness)[:MAX_ROWS]
    chosen = set(nearest)
    parted: tuple[list[Span], list[Span]] = ([], [])
    for index, span in enumerate(spans):
        parted[index not in chosen].append(span)
    return parted


def _together(spans: Sequence[Span]) -> Iterable[Span]:
    """Yield one span around all of these; nothing if there are none."""
    if not spans:
        return
    largest = [span.largest for span in spans]
    smallest = [span.smallest for span in spans if span.smallest is not None]
    yield Span(
        f"{len(spans):,} others",
        None if None in largest else max(filter(None, largest), default=0.0),
        min(smallest, default=None),
        any(span.overflows for span in spans),
        any(span.vanishes for span in spans),
    )


def _background(bottom: float) -> list[Markup]:
    """Draw the axis: what lies beyond fp16's range, and lines at the ticks."""
    least, most = AXIS.at(LEAST), AXIS.at(MOST)
    parts = [
        svg.bar(0, least, _TOP - 4, bottom - _TOP + 4, "beyond"),
        svg.bar(most, 100, _TOP - 4, bottom - _TOP + 4, "beyond"),
    ]
    for value, words in _TICKS.items():
        place, kind = AXIS.at(value), "limit" if value in {LEAST, MOST} else "grid"
        parts.append(svg.line(place, place, _TOP - 4, bottom, kind))
        parts.append(svg.text(place, _TOP - 10, words, "tick", anchor="middle"))
    return parts


def _label(span: Span, middle: float) -> list[Markup]:
    kind = "name warned" if span.overflows or span.vanishes else "name"
    return svg.name(middle + 4, span.name, kind)


def _bar(span: Span, middle: float) -> Markup:
    """Draw the bar in up to three pieces: below fp16's range, within it, and beyond it."""
    tip = f"{shortened(span.name, 200)}: {span.words}"
    if span.is_all_zero:
        return svg.group(svg.text(AXIS.at(1.0), middle + 4, "0", "tick", anchor="middle"), tip=tip)
    right = AXIS.at(math.inf if span.largest is None else span.largest)
    if span.smallest is None:
        return svg.group(svg.dot(right, middle, _kind_at(span, right), radius=_THICK / 2), tip=tip)
    left, least, most = AXIS.at(span.smallest), AXIS.at(LEAST), AXIS.at(MOST)
    pieces = [
        (left, min(right, least), "vanishing" if span.vanishes else "few"),
        (max(left, least), min(right, most), "fits"),
        (max(left, most), right, "overflowing"),
    ]
    top = middle - _THICK / 2
    drawn = [
        svg.bar(start, max(end, start + 0.6), top, _THICK, kind)
        for start, end, kind in pieces
        if end > start or start == left == right == end
    ]
    return svg.group(*drawn, tip=tip)


def _kind_at(span: Span, place: float) -> str:
    """Return the class of a magnitude that stands alone."""
    if span.overflows or place > AXIS.at(MOST):
        return "overflowing"
    return "vanishing" if place < AXIS.at(LEAST) else "fits"
