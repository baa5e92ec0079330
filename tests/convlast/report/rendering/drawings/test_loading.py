"""The matrix of the ways of loading."""

from __future__ import annotations

from convlast.report.rendering.drawings.loading import survival
from convlast.report.sections import Survival
from tests.convlast.report.rendering.drawings.reading import read
from tests.convlast.report.rendering.drawings.samples import HOSTILE

KEPT = Survival(route="kept()", survives=True, message="Tried.")
LOST = Survival(route="lost()", survives=False, message="The layout is lost.")
NEVER = Survival(route="never()", survives=False, always_lost=True, message="It copies.")
UNTRIED = Survival(route="untried()", survives=None, message="No weight.")


def table_of(rows: list[Survival]) -> list[list[str]]:
    """Return the words of the table's cells, row by row."""
    table = next(read(survival(rows)).iter("table"))
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


def test_surprises_come_first() -> None:
    """A way that loses the layout of this file alone comes first, one that was not tried last."""
    assert table_of([KEPT, UNTRIED, NEVER, LOST]) == [
        ["Way of loading", "Lost", "Never", "Kept", "Not tried"],
        ["lost()The layout is lost.", "✕", "", "", ""],
        ["never()It copies.", "", "✕", "", ""],
        ["kept()Tried.", "", "", "✓", ""],
        ["untried()No weight.", "", "", "", "–"],
    ]


def test_only_results_that_occur_have_a_column() -> None:
    """A matrix of ways that all keep the layout has one column of marks."""
    assert table_of([KEPT])[0] == ["Way of loading", "Kept"]
    assert "1 of 1 way of loading keeps the layout." in survival([KEPT])


def test_the_ways_are_counted_in_words() -> None:
    """The sentence says how many keep the layout, and how many do not."""
    words = "1 of 3 ways of loading keeps the layout; 1 loses it, though other files keep it"
    assert f"{words}; 1 never keeps it, whatever the file." in survival([KEPT, LOST, NEVER])


def test_messages_stay_text() -> None:
    """A message with HTML in it makes no element."""
    hostile = Survival(route="load()", survives=None, message=HOSTILE)
    assert "<script" not in survival([hostile])
