"""The picture of the magnitudes of tensors and activations."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from convlast.report.rendering.drawings.magnitudes import (
    AXIS,
    LEAST,
    MAX_ROWS,
    MOST,
    Span,
    ranges,
    spans_of_activations,
    spans_of_tensors,
)
from convlast.report.smoke import Range
from tests.convlast.report.rendering.drawings.reading import (
    parts,
    picture_in,
    shares,
    texts,
    title_of,
)
from tests.convlast.report.rendering.drawings.samples import HOSTILE, range_smoke, smoke_with

magnitudes = st.none() | st.floats(0, 1e300)
spans = st.builds(Span, st.text(max_size=80), magnitudes, magnitudes, st.booleans(), st.booleans())


@given(st.lists(spans, min_size=1, max_size=MAX_ROWS + 5))
def test_everything_is_inside_the_picture(found: list[Span]) -> None:
    """Whatever the magnitudes and the names, nothing is outside, and few rows are drawn."""
    picture = picture_in(ranges(found, "tensor"))
    assert all(0 <= share <= 100 for share in shares(picture))
    assert len(texts(picture, "name")) == min(len(found), MAX_ROWS + 1)
    height = float(picture.get("height") or 0)
    assert all(float(each.get("y") or 0) <= height for each in picture.iter("rect"))


def test_what_leaves_the_range_has_a_colour_of_its_own() -> None:
    """The piece beyond 65504 is one bar, and what vanishes below 2⁻²⁴ is another."""
    picture = picture_in(ranges(spans_of_tensors(range_smoke()), "tensor"))
    (beyond,) = parts(picture, "rect", "overflowing")
    (vanishing,) = parts(picture, "rect", "vanishing")
    assert abs(float((beyond.get("x") or "").removesuffix("%")) - AXIS.at(MOST)) < 0.01
    start, width = (float((vanishing.get(key) or "").removesuffix("%")) for key in ("x", "width"))
    assert abs(start + width - AXIS.at(LEAST)) < 0.02
    assert texts(picture, "warned") == ["norm.running_var", "tiny.weight"]
    assert "1 tensor beyond 65504 and 1 tensor with many values below 2⁻²⁴" in title_of(picture)


def test_a_quiet_model_has_nothing_in_a_warning_colour() -> None:
    """Where all values fit, the title says so and no piece is coloured."""
    picture = picture_in(ranges([Span("w", 1.0, 1e-3), Span("b", 0.0, None)], "tensor"))
    for kind in ("overflowing", "vanishing", "few"):
        assert not parts(picture, "rect", kind)
    assert "none leaves it" in title_of(picture)


def test_of_500_tensors_those_near_a_limit_are_drawn_and_the_others_share_a_row() -> None:
    """The picture stays small, in the order of the file, and says how many it puts together."""
    found = [Span(f"w{index}", 1.0, 1e-3) for index in range(500)]
    found[400] = Span("infinite", None, None, overflows=True)
    found[300] = Span("vanishing", 1e-7, 1e-9, vanishes=True)
    drawn = ranges(found, "tensor")
    names = texts(picture_in(drawn), "name")
    assert len(drawn) < 30_000
    assert names[-1] == "460 others"
    assert names.index("vanishing") < names.index("infinite")


def test_a_report_of_an_older_version_has_a_picture_too() -> None:
    """Without the smallest magnitudes there is a dot for each of the tensors that are told of."""
    row = Range(name="w", absmax=5e4, numel=3, overflow=0, underflow=0, headroom=1.3)
    (span,) = spans_of_tensors(smoke_with(range=[row]))
    picture = picture_in(ranges([span], "tensor"))
    assert len(parts(picture, "circle", "fits")) == 1
    assert span.words == "at most 50,000"


def test_names_stay_text() -> None:
    """The name of a tensor makes no element, and marks of direction are written out."""
    picture = picture_in(ranges([Span(HOSTILE, 1.0, 0.1), Span("x" * 10_000, 1.0, 0.1)], "tensor"))
    hostile, long = texts(picture, "name")
    assert hostile.endswith(r"""<script>alert(1)</script>'"&\u202e\x00""")
    assert len(long) < 50
    assert not list(picture.iter("script"))


def test_the_same_report_gives_the_same_picture() -> None:
    """Nothing in the picture depends on when or where it is drawn."""
    first, second = (ranges(spans_of_activations(range_smoke(60)), "module") for _ in range(2))
    assert first == second


def test_infinity_is_beyond_the_range() -> None:
    """A magnitude that is not finite reaches the right end."""
    assert AXIS.at(math.inf) == 100
    picture = picture_in(ranges([Span("w", None, 1.0, overflows=True)], "tensor"))
    (beyond,) = parts(picture, "rect", "overflowing")
    assert beyond.get("x") != "100%"
