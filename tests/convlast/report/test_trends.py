from __future__ import annotations

from typing import Any

import pytest

from convlast.report import Parity, Report, Timing
from convlast.report import trends as module
from convlast.report.trends import compare_errors, compare_times
from tests.convlast.report.arbitrary_reports import recorded

THRESHOLD = 0.02


def parity(relative: float | None, passed: bool | None = True) -> Parity:
    """Return an error that passes below the threshold."""
    return Parity(
        pair="dtype",
        max_abs=relative,
        mean_abs=relative,
        relative=relative,
        cosine=1.0,
        threshold=THRESHOLD,
        passed=passed,
    )


def timing(speedup: float, spread: float, converted_s: float = 0.01, **more: Any) -> Timing:
    """Return a timing on a GPU."""
    return Timing(
        contiguous_s=converted_s * speedup,
        converted_s=converted_s,
        speedup=speedup,
        spread=spread,
        representative=more.pop("representative", True),
        **more,
    )


@pytest.mark.parametrize(
    ("before", "after", "trend"),
    [
        (parity(0.005), parity(0.009), "same"),  # within a factor of two
        (parity(0.005), parity(0.011), "worse"),
        (parity(0.011), parity(0.005), "better"),
        (parity(0.0), parity(THRESHOLD / 8), "same"),  # rounding
        (parity(0.0), parity(THRESHOLD / 4), "worse"),
        (parity(0.019), parity(0.021, passed=False), "worse"),
        (parity(0.021, passed=False), parity(0.021, passed=None), "better"),
        (parity(None, passed=False), parity(0.5, passed=False), "better"),
        (parity(None, passed=False), parity(None, passed=False), "same"),
    ],
)
def test_errors_have_a_trend_beyond_rounding(before: Parity, after: Parity, trend: str) -> None:
    """A factor of two above an eighth of the threshold counts, and whether it passes."""
    assert module.trend_of_errors(before, after) == trend


@pytest.mark.parametrize(
    ("before", "after", "trend"),
    [
        (timing(1.5, 0.1), timing(1.3, 0.1), "same"),
        (timing(1.5, 0.1), timing(1.29, 0.1), "worse"),
        (timing(1.2, 0.0), timing(1.3, 0.05), "better"),
    ],
)
def test_speedups_have_a_trend_beyond_their_spreads(
    before: Timing, after: Timing, trend: str
) -> None:
    """A speedup counts as changed if it moved by more than both spreads together."""
    assert module.trend_of_speedups(before, after) == trend


@pytest.mark.parametrize(
    ("before_s", "after_s", "spread", "trend"),
    [
        (0.010, 0.0109, 0.0, "same"),
        (0.010, 0.0112, 0.0, "worse"),
        (0.0112, 0.010, 0.0, "better"),
        (0.010, 0.013, 0.2, "same"),  # each varies by a fifth
        (0.0, 0.01, 0.0, "worse"),
    ],
)
def test_the_converted_time_has_a_trend_too(
    before_s: float, after_s: float, spread: float, trend: str
) -> None:
    """If both layouts became slower, the speedup stays, and the time says so."""
    before, after = (timing(1.0, spread, each) for each in (before_s, after_s))
    assert module.trend_of_converted(before, after) == trend
    assert module.trend_of_speedups(before, after) == "same"


def report(**updates: Any) -> Report:
    """Return the recorded report with a smoke of the whole model."""
    found = recorded()
    found["smoke"] |= {"scope": "model", "timing": None, "timings": [], **updates}
    return Report.model_validate(found)


def test_an_error_that_grew_says_by_which_factor() -> None:
    """The change names the layer, the pair and the factor; the other errors are counted."""
    found = recorded()
    found["layers"][0]["smoke"]["parity"][0] |= {"relative": 0.0062}
    changes = compare_errors(Report.model_validate(recorded()), Report.model_validate(found))
    [change] = changes.changed
    assert (change.layer, change.pair) == (found["layers"][0]["name"], "dtype")
    assert change.factor == pytest.approx(20)
    assert (change.before, change.after, change.trend) == (0.00031, 0.0062, "worse")
    assert changes.unchanged > 0
    assert changes.only_before == changes.only_after == 0


def test_the_errors_of_the_whole_model_are_compared() -> None:
    """They have no layer; with several samples each has its own."""
    before = [parity(0.001), parity(0.001).model_copy(update={"samples": 2})]
    after = [parity(0.001), parity(0.015).model_copy(update={"samples": 2})]
    [change] = compare_errors(report(parity=before), report(parity=after)).changed
    assert (change.layer, change.samples, change.trend) == (None, 2, "worse")


def test_the_worst_of_the_layers_is_not_told_twice() -> None:
    """A smoke of layers repeats the worst error of them, which is not compared again."""
    found = recorded()
    found["smoke"]["parity"][0] |= {"relative": 0.9, "passed": False}
    assert found["smoke"]["scope"] == "layers"
    assert not compare_errors(
        Report.model_validate(recorded()), Report.model_validate(found)
    ).changed


def test_times_are_matched_by_setting() -> None:
    """Each input, precision and mode of cuDNN has its own; new settings are counted."""
    large: dict[str, Any] = {"input_shape": [1, 1, 64, 64, 64]}
    before = report(timings=[timing(1.5, 0.01), timing(2.0, 0.01, autocast=True)])
    after = report(timings=[timing(1.5, 0.01, **large), timing(1.2, 0.01, autocast=True)])
    changes = compare_times(before, after)
    [change] = changes.changed
    assert (change.autocast, change.speedup, change.converted) == (True, "worse", "same")
    assert (change.before.speedup, change.after.speedup) == (2.0, 1.2)
    assert (changes.unchanged, changes.only_before, changes.only_after) == (0, 1, 1)


def test_a_single_timing_counts_where_there_is_no_list() -> None:
    """A report of a smoke of layers has one timing."""
    changes = compare_times(report(timing=timing(1.5, 0.01)), report(timing=timing(2.5, 0.01)))
    assert [change.speedup for change in changes.changed] == ["better"]
