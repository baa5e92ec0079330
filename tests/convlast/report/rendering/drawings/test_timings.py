"""The picture of times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.report.rendering.drawings.timings import times
from tests.convlast.report.rendering.drawings.reading import (
    parts,
    picture_in,
    shares,
    texts,
    title_of,
)
from tests.convlast.report.rendering.drawings.samples import smoke_with, time_smoke, timing

seconds = st.floats(1e-9, 1e6)


@given(
    st.lists(
        st.builds(timing, contiguous_s=seconds, converted_s=seconds,
                  speedup=st.floats(1e-6, 1e6), spread=st.floats(0, 1e6)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_everything_is_inside_the_picture(timings: list[object]) -> None:
    """Whatever the times, nothing is outside, and there is a row for each setting."""
    picture = picture_in(times(smoke_with(timings=timings)))
    assert all(0 <= share <= 100 for share in shares(picture))
    assert len(texts(picture, "ratio")) == len(timings)


def test_there_is_a_dot_for_each_way() -> None:
    """Each setting has contiguous and converted weights; `select=fastest` has a third dot."""
    picture = picture_in(times(time_smoke()))
    counts = [len(parts(picture, "circle", kind)) for kind in ("contiguous", "all", "fastest")]
    assert counts == [5, 5, 1]
    assert texts(picture, "ratio")[-1] == "2.30 ×"
    assert len(texts(picture, "unstable")) == 1
    assert "0.88 to 2.51 times as fast" in title_of(picture)


def test_the_faster_dot_is_further_left() -> None:
    """The dot of converted weights is left of the other's where these are faster."""
    picture = picture_in(times(smoke_with(timings=[timing()])))
    ((left,), (right,)) = (
        [float((dot.get("cx") or "").removesuffix("%")) for dot in parts(picture, "circle", kind)]
        for kind in ("all", "contiguous")
    )
    assert left < right
    assert parts(picture, "rect", "gain")


def test_times_of_a_cpu_are_grey_and_say_so() -> None:
    """On a CPU the picture is grey, and words say that it tells nothing about a GPU."""
    drawn = times(time_smoke(representative=False))
    picture = picture_in(drawn)
    assert "grey" in (picture.get("class") or "")
    assert "says nothing about a GPU" in title_of(picture)
    assert "Timed on a CPU. This says nothing about a GPU." in drawn


def test_a_choice_without_its_times_has_no_row() -> None:
    """A choice whose times are not known leaves the settings alone."""
    choice = {"chosen": "all", "layers": [], "seconds": {}, "speedup": 2, "spread": 0}
    drawn = times(smoke_with(timings=[timing()], choice=choice))
    assert "select=fastest" not in drawn


@pytest.mark.parametrize("representative", [True, False])
def test_the_same_report_gives_the_same_picture(representative: bool) -> None:
    """Nothing in the picture depends on when or where it is drawn."""
    smokes = [time_smoke(representative=representative) for _ in range(2)]
    assert times(smokes[0]) == times(smokes[1])
