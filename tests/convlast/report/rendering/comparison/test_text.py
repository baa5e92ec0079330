from __future__ import annotations

import io

from rich.console import Console

from convlast.report import Report
from convlast.report.comparing import compare
from convlast.report.rendering.comparison import text
from tests.convlast.report.arbitrary_reports import recorded
from tests.convlast.report.rendering.building import HOSTILE
from tests.convlast.report.rendering.comparison.test_page import pair


def shown(before: Report, after: Report) -> str:
    """Return what a terminal of 100 columns shows."""
    screen = io.StringIO()
    Console(file=screen, width=100, markup=False).print(text.render(compare(before, after)))
    return screen.getvalue()


def test_what_got_worse_comes_first() -> None:
    """Headline, both reports, what is worse, and at last how much stayed."""
    lines = shown(*pair()).splitlines()
    assert lines[0] == "Better and worse."
    assert lines[2].startswith("Before           checkpoint_final.pth: Passed with findings.")
    assert lines.index("Worse") < lines.index("Better") < lines.index("Layers")
    assert lines[-1].startswith("Files            ")


def test_a_name_cannot_act_on_the_terminal() -> None:
    """Escape sequences and marks that turn the writing are shown as such."""
    said = shown(*pair(f"{HOSTILE}\x1b[2J\u202e"))
    assert all(each.isprintable() for each in said.splitlines())
    assert r"\x1b[2J" in said


def test_a_long_part_is_cut() -> None:
    """It says how many lines the JSON has beside these."""
    found = recorded()
    layer = found["layers"][0]
    found["layers"] += [{**layer, "name": f"block.{number}.weight"} for number in range(500)]
    said = shown(Report.model_validate(recorded()), Report.model_validate(found))
    assert "480 more lines; --json has all." in said
    assert len(said.splitlines()) < 80
