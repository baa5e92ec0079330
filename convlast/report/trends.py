"""Compares what was measured for two reports: errors and times, each with its own noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from convlast.report.changes import (
    ErrorChange,
    ErrorChanges,
    TimeChange,
    TimeChanges,
    TimePoint,
    Tolerance,
    Trend,
)
from convlast.report.matching import matched
from convlast.report.sections import Parity, ReportData, Smoke, Timing

ROUNDING_SHARE = 1 / 8
"""The share of its threshold below which an error is rounding. For the layout of a layer this is
one unit in the last place of fp16, see `convlast.smoke.parity`."""

_GRAVITY = {True: 0, None: 1, False: 2}
"""How bad it is whether a parity passed."""

DEFAULT = Tolerance()
"""The usual limits."""


@dataclass(frozen=True)
class _Error:
    """A parity, and what it is about."""

    file: str | None
    wrapper: str | None
    layer: str | None
    parity: Parity

    @property
    def subject(self) -> dict[str, str | int | None]:
        """What is compared, by the names of the fields of a change."""
        return {
            "file": self.file,
            "wrapper": self.wrapper,
            "layer": self.layer,
            "pair": self.parity.pair,
            "samples": self.parity.samples,
        }


@dataclass(frozen=True)
class _Time:
    """A timing, and the file that it is about."""

    file: str | None
    timing: Timing

    @property
    def setting(self) -> dict[str, str | bool | list[int] | None]:
        """What was timed, by the names of the fields of a change."""
        timing = self.timing
        return {
            "file": self.file,
            "input_shape": timing.input_shape,
            "dtype": timing.dtype,
            "autocast": timing.autocast,
            "cudnn_benchmark": timing.cudnn_benchmark,
            "representative": timing.representative,
        }


def trend_of(before: float, after: float) -> Trend:
    """Say what became of a number that is better if it is smaller.

    >>> trend_of(1, 2), trend_of(2, 1), trend_of(1, 1)
    ('worse', 'better', 'same')
    """
    return "same" if before == after else "worse" if after > before else "better"


def trend_of_errors(before: Parity, after: Parity, tolerance: Tolerance = DEFAULT) -> Trend:
    """Say whether an error is better or worse, beyond rounding."""
    gravity = trend_of(_GRAVITY[before.passed], _GRAVITY[after.passed])
    if gravity != "same":
        return gravity
    old, new = (math.inf if each.relative is None else each.relative for each in (before, after))
    is_rounding = all(
        each.relative is not None and each.relative <= each.threshold * ROUNDING_SHARE
        for each in (before, after)
    )
    is_near = max(old, new) <= tolerance.max_error_growth * min(old, new)
    return "same" if is_rounding or is_near else trend_of(old, new)


def trend_of_speedups(before: Timing, after: Timing) -> Trend:
    """Say whether the layout pays more or less, beyond the spreads."""
    if abs(after.speedup - before.speedup) <= before.spread + after.spread:
        return "same"
    return trend_of(-before.speedup, -after.speedup)


def trend_of_converted(before: Timing, after: Timing, tolerance: Tolerance = DEFAULT) -> Trend:
    """Say whether the converted model runs in less or more time, beyond spreads and tolerance."""
    noise = sum(each.spread / each.speedup for each in (before, after) if each.speedup > 0)
    least, most = sorted((before.converted_s, after.converted_s))
    if most <= least * (1 + max(noise, tolerance.max_slowdown)):
        return "same"
    return trend_of(before.converted_s, after.converted_s)


def compare_errors(
    before: ReportData, after: ReportData, tolerance: Tolerance = DEFAULT
) -> ErrorChanges:
    """Compare the errors of the layers and of the whole models."""
    both, old_only, new_only = matched(
        _errors(before), _errors(after), lambda each: tuple(each.subject.values())
    )
    changed = [
        ErrorChange.model_validate(
            {
                **new.subject,
                "before": old.parity.relative,
                "after": new.parity.relative,
                "passed_before": old.parity.passed,
                "passed_after": new.parity.passed,
                "threshold": new.parity.threshold,
                "factor": _ratio(old.parity.relative, new.parity.relative),
                "trend": trend,
            }
        )
        for old, new in both
        if (trend := trend_of_errors(old.parity, new.parity, tolerance)) != "same"
    ]
    return ErrorChanges(
        changed=changed,
        unchanged=len(both) - len(changed),
        only_before=len(old_only),
        only_after=len(new_only),
    )


def compare_times(
    before: ReportData, after: ReportData, tolerance: Tolerance = DEFAULT
) -> TimeChanges:
    """Compare the times of each setting."""
    both, old_only, new_only = matched(
        _times(before), _times(after), lambda each: str(each.setting)
    )
    changed = [
        TimeChange.model_validate(
            {
                **new.setting,
                "before": _point(old.timing),
                "after": _point(new.timing),
                "speedup": speedup,
                "converted": converted,
            }
        )
        for old, new in both
        if {
            speedup := trend_of_speedups(old.timing, new.timing),
            converted := trend_of_converted(old.timing, new.timing, tolerance),
        }
        != {"same"}
    ]
    return TimeChanges(
        changed=changed,
        unchanged=len(both) - len(changed),
        only_before=len(old_only),
        only_after=len(new_only),
    )


def _errors(report: ReportData) -> Iterator[_Error]:
    """Yield the parities of each layer, and of each model that was run as a whole."""
    for layer in report.layers:
        for parity in layer.smoke.parity if layer.smoke else ():
            yield _Error(layer.file, layer.wrapper, layer.name, parity)
    for file, smoke in _smokes(report):
        if smoke.scope == "model":  # otherwise these are the worst of the layers again
            for parity in smoke.parity:
                yield _Error(file, None, None, parity)


def _times(report: ReportData) -> Iterator[_Time]:
    for file, smoke in _smokes(report):
        alone = [] if smoke.timing is None else [smoke.timing]
        for timing in smoke.timings or alone:
            yield _Time(file, timing)


def _smokes(report: ReportData) -> Iterator[tuple[str | None, Smoke]]:
    """Yield the smoke of the report, or of each file, with the file's path."""
    if report.smoke:
        yield None, report.smoke
    for section in report.files:
        if section.smoke:
            yield section.path, section.smoke


def _point(timing: Timing) -> TimePoint:
    names = TimePoint.model_fields
    return TimePoint.model_validate({name: getattr(timing, name) for name in names})


def _ratio(before: float | None, after: float | None) -> float | None:
    """Return how many times as large the second number is, if that can be said.

    >>> _ratio(0.5, 2.0), _ratio(0.0, 1.0), _ratio(1e-300, 1e300)
    (4.0, None, None)
    """
    if not before or after is None:
        return None
    ratio = after / before
    return ratio if math.isfinite(ratio) else None
