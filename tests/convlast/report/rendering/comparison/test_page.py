from __future__ import annotations

from typing import Any

import pytest

from convlast.report import Report
from convlast.report.comparing import compare
from convlast.report.rendering.comparison.page import MAX_ROWS, render
from tests.convlast.report.arbitrary_reports import recorded
from tests.convlast.report.rendering.building import HOSTILE
from tests.convlast.report.rendering.test_html import Page

SECTIONS = {
    *("At a glance", "The two reports", "The result", "Errors", "Times", "Ways of loading"),
    *("Findings that came or went", "Findings with another message", "Layers that changed"),
    *(
        "What got worse",
        "What got better",
        "Layers that came or went",
        "Files that came or went",
        "Options",
        "Environment",
    ),
}


def pair(text: str = "tame") -> tuple[Report, Report]:
    """Return two reports that differ in each part, with this text in each name and message."""
    found = recorded()
    first, second, *_ = found["layers"]
    second |= {"status": "skipped", "reason": text}
    first["smoke"]["parity"][0] |= {"relative": 0.9, "passed": False}
    found["layers"].append({**first, "name": text, "file": text, "wrapper": text})
    found["findings"].append({"code": text, "severity": "error", "layer": text, "message": text})
    found["findings"][0]["message"] = text
    found["survival"][0] |= {"survives": False}
    found["survival"].append({"route": text, "survives": True, "message": text})
    found["smoke"]["timings"] = [timing(1.2)]
    found["verdict"], found["input"] = "failed", {**found["input"], "filename": text}
    found["input"]["wrapper"] = text
    found["options"]["architecture"] = text
    found["environment"]["torch"] = text
    section = {name: found[name] for name in ("verdict", "input")}
    found["files"] = [{**section, "path": text, "role": "checkpoint"}]
    before = recorded()
    before["smoke"]["timings"] = [timing(1.9)]
    return Report.model_validate(before), Report.model_validate(found)


def timing(speedup: float) -> dict[str, Any]:
    """Return a timing of a GPU."""
    times = {"contiguous_s": 0.02, "converted_s": 0.02 / speedup, "speedup": speedup}
    return {**times, "spread": 0.01, "representative": True, "input_shape": [1, 1, 8, 8, 8]}


def page_of(before: Report, after: Report) -> Page:
    """Return the page that compares two reports, as a reader sees it."""
    return Page(render(compare(before, after)))


def titles(page: Page) -> set[str]:
    """Return the titles of the sections, of those that there can be."""
    return SECTIONS & set(page.text)


def test_what_changed_has_a_section_each() -> None:
    """Each part that changed has its section, with the names and both values."""
    page = page_of(*pair())
    text = " ".join(page.text)
    assert page.open == []
    assert titles(page) == SECTIONS
    for expected in (
        "Better and worse",
        "Passed with findings, and now: Failed.",
        "encoder.stages.0.0.convs.0.all_modules.0.weight",
        "2.13.0+cpu",
        "1.90 ± 0.01 ×",
        "0.9",
        "skipped",
    ):
        assert expected in text, expected


def test_what_did_not_change_is_only_counted() -> None:
    """A report beside itself has no section of changes."""
    report, _ = pair()
    page = page_of(report, report)
    text = " ".join(page.text)
    # Errors, times and ways of loading are the titles of cards, which count them.
    counted = {"Errors", "Times", "Ways of loading"}
    assert titles(page) == {"At a glance", "The two reports", *counted}
    assert "Nothing changed" in text
    assert f"{len(report.layers)} unchanged." in text
    assert report.layers[0].name not in text


def test_what_is_better_says_so() -> None:
    """In the other order the same changes are for the better."""
    before, after = pair()
    alone = after.model_copy(update={"layers": after.layers[:-1]})  # that one came
    assert "Changed for the better" in page_of(alone, before).text
    quicker = alone.model_copy(update={"verdict": before.verdict})
    assert "Changed for the worse" in page_of(before, quicker).text


def test_layers_that_changed_alike_are_one_row() -> None:
    """500 layers with the same change are one row, which names three of them."""
    found = recorded()
    layer = found["layers"][0]
    many = [{**layer, "name": f"block.{number}.weight"} for number in range(500)]
    before, after = (
        Report.model_validate({**found, "layers": [{**each, "dtype": dtype} for each in many]})
        for dtype in ("float32", "float16")
    )
    page = page_of(before, after)
    text = " ".join(page.text)
    assert "block.0.weight, block.1.weight, block.2.weight and 497 more" in text
    assert "block.3.weight" not in text


def test_a_long_table_is_cut() -> None:
    """A table has so many rows, and says how many more the JSON has."""
    found = recorded()
    layer, most = found["layers"][0], MAX_ROWS
    found["layers"] = [{**layer, "name": f"{number}.weight"} for number in range(most + 7)]
    page = page_of(Report.model_validate(found | {"layers": []}), Report.model_validate(found))
    text = " ".join(page.text)
    assert "7 more rows; the JSON has all." in text
    assert f"{most}.weight" not in text


@pytest.mark.parametrize("text", [HOSTILE, "a" * 10_000])
def test_hostile_text_stays_text(text: str) -> None:
    """With every name and message hostile or long, the page has the same elements and classes."""
    tame, hostile = page_of(*pair()), page_of(*pair(text))
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in tame.elements}
    assert [tag for tag, _ in hostile.elements].count("script") == 1
    assert hostile.open == []
    assert not set("".join(hostile.text)) & set("\x00\u202e")
    assert "style" not in {name for _, found in hostile.elements for name in found}
    assert len("".join(hostile.text)) < 100_000


def test_the_same_comparison_gives_the_same_page() -> None:
    """Nothing of the page depends on the time or on chance."""
    first, second = (render(compare(*pair())) for _ in range(2))
    assert first == second
