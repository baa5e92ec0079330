from __future__ import annotations

from hypothesis import given

from convlast.report import Report
from convlast.report.comparing import compare
from convlast.report.rendering.comparison import outline
from tests.convlast.report.arbitrary_reports import reports
from tests.convlast.report.rendering.comparison.test_page import pair


def test_each_part_that_changed_has_its_lines() -> None:
    """What got worse comes first; each name stands where it belongs."""
    found = {part.title: part.lines for part in outline.parts(compare(*pair()))}
    assert [*found] == [
        *("Worse", "Better", "The result", "Findings", "Layers", "Times", "Files"),
        *("Options", "Environment"),
    ]
    assert found["Worse"][0] == ("verdict", "passed_with_findings → failed")
    assert ("architecture", "– → tame") in found["Options"]
    assert found["Files"] == [("tame", "came")]
    assert ("torch", "2.13.0+cpu → tame") in found["Environment"]


@given(reports(), reports())
def test_only_what_changed_has_a_line(first: Report, second: Report) -> None:
    """A report beside itself has none, and the headline says so."""
    same = compare(first, first)
    assert [*outline.parts(same)] == []
    assert outline.headline(same) == "Nothing changed"
    other = compare(first, second)
    titles = {part.title for part in outline.parts(other)}
    assert ("Worse" in titles, "Better" in titles) == (
        bool(other.regressions),
        bool(other.improvements),
    )
    assert (outline.headline(other) == "Nothing changed") != other.changed
