"""The picture of the chain of modules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convlast.report.rendering.drawings.strip import MAX_LINKS, chain
from tests.convlast.report.rendering.drawings.reading import (
    parts,
    picture_in,
    read,
    shares,
    texts,
    title_of,
)
from tests.convlast.report.rendering.drawings.samples import (
    FIRST,
    FLAT,
    HOSTILE,
    LAST,
    agreeing,
    chain_smoke,
    smoke_with,
    step,
)

layouts = st.sampled_from([LAST, FIRST, FLAT, "both", "strided", "2d"])
steps = st.builds(step, st.text(max_size=90), layouts, layouts)


@given(st.lists(steps, min_size=1, max_size=2 * MAX_LINKS))
def test_the_stretches_fill_the_picture_and_stay_in_it(trace: list[object]) -> None:
    """Whatever ran, each stretch begins where the one before it ends."""
    picture = picture_in(chain(smoke_with(trace=trace)))
    stretches = parts(picture, "rect", "stretch")
    starts = [float((each.get("x") or "").removesuffix("%")) for each in stretches]
    assert 1 <= len(stretches) <= MAX_LINKS
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert all(0 <= share <= 100 for share in shares(picture))


def test_modules_that_only_agree_are_one_stretch() -> None:
    """57 modules after the one that permutes are drawn as one, with their number."""
    picture = picture_in(chain(smoke_with(trace=[step("stem", FIRST, LAST), *agreeing(57)])))
    assert len(parts(picture, "rect", "stretch")) == 1
    assert texts(picture, "inside") == ["58"]


def test_each_flip_names_its_module_its_bytes_and_its_time() -> None:
    """The table below the picture has a row for each mark."""
    drawn = chain(chain_smoke())
    picture, table = picture_in(drawn), next(read(drawn).iter("table"))
    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")][1:]
    assert texts(picture, "mark") == ["1", "2", "3", "4"]
    assert [row[0] for row in rows] == ["stem", "pool", "back", "to_frames"]
    assert rows[0][3:] == ["the input has to change once", "–", "–"]
    assert rows[1][2:] == [
        "channels-last → contiguousAvgPool3d",
        "its aten::avg_pool3d",
        "16.8 MB",
        "–",
    ]
    assert rows[2][3:] == ["back again, after pool", "2.1 MB", "120 µs"]


def test_the_end_of_5_d_is_shown() -> None:
    """Where 5-D becomes 4-D there is a mark, and the stretch behind it has a colour of its own."""
    drawn = chain(chain_smoke())
    picture = picture_in(drawn)
    assert len(parts(picture, "line", "break")) == 1
    assert len(parts(picture, "rect", "flat")) == 1
    assert "channels-last → 4-D" in drawn
    assert "the layout changes 3 times and 5-D begins or ends 1 time" in title_of(picture)
    assert "4-D (4 modules)" in drawn


def test_a_thousand_flips_stay_small() -> None:
    """Only some stretches are drawn, and the number of the others is said."""
    restless = [step(f"m{i}", *((FIRST, LAST) if i % 2 else (LAST, FIRST))) for i in range(1000)]
    drawn = chain(smoke_with(trace=restless))
    assert len(parts(picture_in(drawn), "rect", "stretch")) == MAX_LINKS
    assert f"{1000 - MAX_LINKS} more stretches" in drawn
    assert len(drawn) < 120_000


def test_names_of_modules_stay_text() -> None:
    """The name of a module makes no element."""
    drawn = chain(chain_smoke(HOSTILE))
    assert "<script" not in drawn
    assert not set(drawn) & set("\u202e\x00")
    assert any("<script>" in text for text in read(drawn).itertext())


def test_the_same_report_gives_the_same_picture() -> None:
    """Nothing in the picture depends on when or where it is drawn."""
    assert chain(chain_smoke()) == chain(chain_smoke())
