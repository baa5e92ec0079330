"""The pictures of a report, in a browser: their names, their room, and what axe says."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from convlast.report import Report
from convlast.report.rendering import html
from tests.browser.axe import violations
from tests.browser.conftest import Visits
from tests.convlast.report.rendering.drawings.samples import (
    HOSTILE,
    report_with,
    restless_smoke,
    whole_smoke,
)

pytestmark = pytest.mark.browser

OUTSIDE = """pictures => pictures.flatMap(picture => {
  const frame = picture.getBoundingClientRect();
  return [...picture.querySelectorAll("rect, circle, line, text.tick, text.ratio, text.mark")]
    .filter(each => getComputedStyle(each).display !== "none")
    .map(each => [each, each.getBoundingClientRect()])
    .filter(([, box]) => box.left < frame.left - 12 || box.right > frame.right + 12
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
    .map(([each]) => each.outerHTML);
})"""
"""What of the pictures is outside their frames; the frame's padding has room for half a tick."""

OVERLAPPING = """pictures => pictures.flatMap(picture => ["tick", "mark", "ratio"].flatMap(kind => {
  const boxes = [...picture.querySelectorAll(`text.${kind}`)].map(each =>
    [each.textContent, each.getBoundingClientRect()]);
  return boxes.slice(1).filter(([, box], index) => {
    const before = boxes[index][1];
    return box.left < before.right && before.left < box.right
      && box.top < before.bottom && before.top < box.bottom;
  }).map(([words]) => words);
}))"""
"""The words of a picture that touch those before them."""

REPORTS = {
    "a GPU": lambda: report_with(whole_smoke()),
    "a large model": lambda: report_with(whole_smoke(number=300)),
    "a restless model": lambda: report_with(restless_smoke()),
    "hostile names": lambda: report_with(whole_smoke(HOSTILE)),
    "long names": lambda: report_with(whole_smoke("long_name." * 1000)),
}


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest) -> Report:
    """A report with pictures."""
    return REPORTS[request.param]()


def opened(visits: Visits, report: Report, folder: Path, **how: bool) -> Page:
    """Open the page of a report."""
    page = folder / "report.html"
    page.write_text(html.render(report), encoding="utf-8")
    return visits.open(page.as_uri(), **how)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("kind", ["a GPU", "a restless model"])
def test_a_page_with_pictures_is_accessible(
    visits: Visits, tmp_path: Path, kind: str, *, dark: bool, narrow: bool
) -> None:
    """Axe finds nothing with all its rules, also where every list is open."""
    page = opened(visits, REPORTS[kind](), tmp_path, dark=dark, narrow=narrow)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert violations(page) == []


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_everything_in_a_picture_has_room(
    visits: Visits, report: Report, tmp_path: Path, *, narrow: bool
) -> None:
    """Nothing is outside its picture, no words touch, and the page does not scroll sideways."""
    page = opened(visits, report, tmp_path, narrow=narrow)
    pictures = page.locator("svg.drawing")
    assert pictures.evaluate_all(OUTSIDE) == []
    assert pictures.evaluate_all(OVERLAPPING) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_each_picture_has_a_name_and_needs_no_script(visits: Visits, tmp_path: Path) -> None:
    """A screen reader is told in a sentence what a picture shows, with script switched off too."""
    page = opened(visits, report_with(whole_smoke()), tmp_path, script=False)
    for name in (
        "The smallest and largest magnitudes of 8 tensors against the range of fp16",
        "The smallest and largest magnitudes of 8 modules against the range of fp16",
        "The layout that each of 72 modules hands on, in the order they ran",
        "The time of a forward under 5 settings: converted weights are 0.88 to 2.51 times",
    ):
        assert page.get_by_role("img", name=name).count() == 1
        assert page.get_by_role("img", name=name).is_visible()


def test_hostile_names_stay_text(visits: Visits, tmp_path: Path) -> None:
    """The names of tensors and modules are shown, and make no element of their own."""
    page = opened(visits, report_with(whole_smoke(HOSTILE)), tmp_path)
    assert page.locator("script").count() == 1
    shown = page.locator("svg.ranges text.name").first.text_content() or ""
    assert shown.endswith(r"""<script>alert(1)</script>'"&\u202e\x00""")
    assert page.get_by_text("<script>alert(1)</script>").count() > 0


def test_a_phone_shows_short_names(visits: Visits, tmp_path: Path) -> None:
    """Where there is little room, a name is its end, and the whole name stands in the table."""
    report = report_with(whole_smoke("encoder.stages.0.blocks.1.norm.running_var"))
    page = opened(visits, report, tmp_path, narrow=True)
    names = page.locator("svg.ranges text:visible").all_text_contents()
    assert "…orm.running_var" in names
    assert "encoder.stages.0.blocks.1.norm.running_var" not in names
