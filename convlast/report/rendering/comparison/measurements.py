"""The errors and times of a comparison as rows of a table, and how good their changes are."""

from __future__ import annotations

from collections.abc import Sequence

from convlast.report.changes import (
    ErrorChange,
    ErrorChanges,
    FindingChanges,
    SurvivalChanges,
    TimeChange,
    TimeChanges,
    TimePoint,
    Trend,
)
from convlast.report.rendering import notation, smoke_page, summary, tables
from convlast.report.rendering.comparison.values import TREND_STATES, subject
from convlast.report.rendering.markup import Markup, element

ERRORS = ["Layer", "Runs", "Before", "After", "Passes", "Change"]
"""The columns of `error`."""

TIMES = ["Input", "Before", "After", "Times as fast", "Converted"]
"""The columns of `time`."""


def ranked(changes: ErrorChanges) -> list[ErrorChange]:
    """Return the errors that changed, the worst first."""
    return sorted(changes.changed, key=lambda each: (each.trend != "worse", -(each.factor or 0)))


def state_of(part: object) -> summary.State:
    """Return how good it is what changed of a part of a comparison."""
    if isinstance(part, FindingChanges):
        severities = {found.severity for found in part.came}
        return (
            "bad" if "error" in severities else "caution" if "warning" in severities else "unknown"
        )
    trends: set[Trend] = set()
    if isinstance(part, ErrorChanges | SurvivalChanges):
        trends = {change.trend for change in part.changed}
    elif isinstance(part, TimeChanges):
        counted = [change for change in part.changed if change.representative]
        trends = {trend for change in counted for trend in (change.speedup, change.converted)}
    return next((TREND_STATES[each] for each in ("worse", "better") if each in trends), "unknown")


def error(change: ErrorChange) -> Sequence[Markup]:
    """Write an error that changed."""
    trend = _tag(change.trend, is_bad=change.passed_after is False and change.trend == "worse")
    factor = [element("small", notation.times(change.factor))] if change.factor else []
    numbers = map(notation.magnitude, (change.before, change.after, change.threshold))
    runs = smoke_page.PAIRS.get(change.pair, change.pair)
    samples = [element("small", f"N = {change.samples}")] if change.samples else []
    return [
        subject(change.layer or "the whole model", change.file, change.wrapper),
        tables.cell(runs, *samples),
        *(tables.cell(number, class_="number") for number in numbers),
        tables.cell(trend, *factor),
    ]


def time(change: TimeChange) -> Sequence[Markup]:
    """Write the times of a setting that changed."""
    under = "autocast" if change.autocast else change.dtype
    mode = "cudnn.benchmark" if change.cudnn_benchmark else None
    trends = (change.speedup, change.converted)
    if change.representative:
        said = [tables.cell(_tag(trend)) for trend in trends]
    else:
        said = [
            tables.cell(tables.tag(trend, "unknown"), element("small", "on a CPU"))
            for trend in trends
        ]
    return [
        subject(notation.shape(change.input_shape or []) or "–", under, mode, change.file),
        *(_point(point) for point in (change.before, change.after)),
        *said,
    ]


def _point(point: TimePoint) -> Markup:
    times = " → ".join(map(notation.duration, (point.contiguous_s, point.converted_s)))
    unstable = [] if point.stable else [element("small", "unstable")]
    speedup = f"{point.speedup:.2f} ± {point.spread:.2f} ×"
    return tables.cell(speedup, element("small", times), *unstable)


def _tag(trend: Trend, *, is_bad: bool = False) -> Markup:
    return tables.tag(trend, "bad" if is_bad else TREND_STATES[trend])
