"""Where a value is on an axis, and which values have a tick."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.report.rendering.drawings.axis import LinearAxis, LogAxis, axis_for

positive = st.floats(1e-300, 1e300)
anything = st.floats(allow_nan=False)


@st.composite
def axes(draw: st.DrawFn) -> LinearAxis | LogAxis:
    """Draw an axis of either kind."""
    least, factor = draw(st.floats(1e-30, 1e30)), draw(st.floats(1.01, 1e30))
    return LinearAxis(least) if draw(st.booleans()) else LogAxis(least, least * factor)


@given(axes(), anything, anything)
def test_a_larger_value_is_never_further_left(
    axis: LinearAxis | LogAxis, one: float, other: float
) -> None:
    """The places of two values have the order of the values."""
    small, large = sorted([one, other])
    assert axis.at(small) <= axis.at(large)


@given(axes(), anything)
def test_every_value_is_inside(axis: LinearAxis | LogAxis, value: float) -> None:
    """Whatever the value, its place is in the picture."""
    assert 0 <= axis.at(value) <= 100


@given(axes())
def test_ticks_are_few_and_inside(axis: LinearAxis | LogAxis) -> None:
    """The ticks are in order, on the axis, and at most seven."""
    ticks = axis.ticks()
    places = [axis.at(tick) for tick in ticks]
    assert len(ticks) <= 7
    assert places == sorted(places)
    assert all(tick <= axis.most * (1 + 1e-9) for tick in ticks)
    if isinstance(axis, LogAxis):
        assert all(tick >= axis.least * (1 - 1e-9) for tick in ticks)


@given(st.lists(positive, min_size=1, max_size=9))
def test_an_axis_is_found_for_any_times(values: list[float]) -> None:
    """Every value is on the axis that is chosen for the values, and not at its right end."""
    axis = axis_for(values)
    assert all(axis.at(value) < 100 for value in values)
    assert all(axis.at(value) > 0 for value in values)


@pytest.mark.parametrize(("factor", "kind"), [(29, LinearAxis), (31, LogAxis)])
def test_values_that_are_factors_apart_need_logarithms(factor: float, kind: type) -> None:
    """On a linear axis the small ones of such values would all be at the left end."""
    assert type(axis_for([1.0, factor])) is kind


def test_what_is_not_finite_is_at_an_end() -> None:
    """Infinity is at the right end, zero and less at the left one."""
    axis = LogAxis(1e-3, 1e3)
    assert [axis.at(value) for value in (-1.0, 0.0, math.inf)] == [0, 0, 100]
