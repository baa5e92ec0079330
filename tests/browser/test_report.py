"""The report as a page in a browser: with its script and without, in every light and width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from convlast.report import Report
from convlast.report.rendering import html
from tests.browser.axe import violations
from tests.browser.conftest import Visits
from tests.convlast.report.rendering import building

pytestmark = pytest.mark.browser

REPORTS: dict[str, Callable[[], Report]] = {
    "small": building.recorded,
    "large": building.large,
    "failed": building.failed,
    "folder": building.folder,
}
LOOKS = {
    "light": {},
    "dark": {"dark": True},
    "light and narrow": {"narrow": True},
    "dark and narrow": {"dark": True, "narrow": True},
}
LONG = "x" * 10_000
HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "\u202eab\u200f", LONG]


@pytest.fixture
def show(visits: Visits, tmp_path: Path) -> Callable[..., Page]:
    """Opens a report as a file, as a person would."""

    def opened(report: Report, address: str = "", **how: bool) -> Page:
        place = tmp_path / "report.html"
        place.write_text(html.render(report), encoding="utf-8")
        return visits.open(place.as_uri() + address, **how)

    return opened


def names(page: Page) -> list[str]:
    """Return the layers that are visible, from the top."""
    return page.locator(".layers tbody tr:visible th code").all_inner_texts()


@pytest.mark.parametrize(
    ("kind", "look"),
    [
        *((kind, look) for kind in ("small", "failed", "folder") for look in LOOKS),
        ("large", "light"),  # axe takes long for it
        ("large", "dark and narrow"),
    ],
)
def test_every_report_is_accessible(show: Callable[..., Page], kind: str, look: str) -> None:
    """With details open, axe finds nothing wrong, and the page is not wider than the screen."""
    page = show(REPORTS[kind](), **LOOKS[look])
    for details in page.locator("details:visible").all()[:20]:
        details.evaluate("each => each.open = true")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_tables_are_sorted_by_their_headers(show: Callable[..., Page]) -> None:
    """A button in each header sorts by it, then the other way round, and says so."""
    page = show(building.recorded())
    size = page.get_by_role("columnheader", name="Size")
    size.get_by_role("button").click()
    assert size.get_attribute("aria-sort") == "ascending"
    assert names(page)[0] == "decoder.seg_layers.4.weight"
    size.get_by_role("button").press("Enter")
    assert size.get_attribute("aria-sort") == "descending"
    assert names(page)[0] == "decoder.transpconvs.0.weight"
    page.locator(".layers thead button", has_text="Error in fp16").click()
    assert size.get_attribute("aria-sort") is None
    assert names(page)[0] == "decoder.seg_layers.4.weight"
    assert names(page)[3] == "encoder.stages.1.0.convs.0.conv.weight"  # not finite


def test_one_box_filters_all_tables(show: Callable[..., Page]) -> None:
    """Rows that contain every word stay, and their number is said at once."""
    page = show(building.recorded())
    box = page.get_by_role("searchbox", name="Filter the tables")
    box.fill("Decoder weight")
    assert names(page) == [
        layer.name for layer in building.recorded().layers if "decoder" in layer.name
    ]
    output = page.locator("output")
    rows = page.locator("tbody tr").count()
    shown = page.locator("tbody tr:visible").count()
    assert output.inner_text() == f"{shown} of {rows} rows"
    box.fill("")
    assert page.locator("tbody tr:visible").count() == rows
    assert output.inner_text() == ""


def test_the_address_keeps_the_rows(show: Callable[..., Page]) -> None:
    """The filter and the sorting stand in the address, and a page with that address has them."""
    page = show(building.recorded())
    page.get_by_role("searchbox").fill("decoder")
    page.locator(".layers thead button", has_text="Size").click()
    address = page.evaluate("location.hash")
    assert address == "#filter=decoder&sort=0.3.ascending"
    again = show(building.recorded(), address)
    assert again.get_by_role("searchbox").input_value() == "decoder"
    assert names(again) == names(page)
    assert again.get_by_role("columnheader", name="Size").get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize(
    "address", ["#sort=9.9.up&sort=x", "#sort=0.0.ascending&filter=%00", "#nothing"]
)
def test_a_strange_address_does_no_harm(show: Callable[..., Page], address: str) -> None:
    """An address that the page has not made is ignored as far as it makes no sense."""
    page = show(building.recorded(), address)
    page.get_by_role("searchbox").fill("decoder")
    assert names(page)


def test_rows_without_a_problem_are_collapsed(show: Callable[..., Page]) -> None:
    """Of 500 layers six are shown; a button shows the others, and so do a filter and a printer."""
    page = show(building.large(500))
    assert len(names(page)) == 6
    expander = page.get_by_role("button", name="Show 494 rows without a problem")
    assert expander.get_attribute("aria-expanded") == "false"
    page.get_by_role("searchbox").fill("stages.7.")
    assert len(names(page)) == 10
    page.get_by_role("searchbox").fill("")
    page.emulate_media(media="print")
    assert len(names(page)) == 500
    page.emulate_media(media="screen")
    expander.click()
    assert len(names(page)) == 500
    page.get_by_role("button", name="Hide 494 rows without a problem").click()
    assert len(names(page)) == 6


def test_the_line_that_loads_can_be_copied(show: Callable[..., Page]) -> None:
    """A button copies the lines, and says that it did."""
    page = show(building.recorded())
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").wait_for()
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").focus()
    page.keyboard.press("Control+V")
    advice = building.recorded().advice
    assert advice is not None
    assert page.locator("textarea").input_value() == advice.load


@pytest.mark.parametrize("kind", REPORTS)
def test_without_script_everything_is_shown(show: Callable[..., Page], kind: str) -> None:
    """Without script every row is visible, and no control that would do nothing."""
    page = show(REPORTS[kind](), script=False)
    assert page.locator("tbody tr:visible").count() == page.locator("tbody tr").count()
    assert len(names(page)) == len(REPORTS[kind]().layers)
    assert page.locator("button:visible, input:visible").count() == 0


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "quotes", "right-to-left", "10 kB"])
@pytest.mark.parametrize("kind", ["small", "folder", "failed"])
def test_hostile_names_are_text(show: Callable[..., Page], kind: str, text: str) -> None:
    """Whatever the names are, they are text: nothing runs, and the page keeps its width."""
    page = show(building.poisoned(REPORTS[kind](), text), narrow=True)
    said = text.replace("\u202e", "\\u202e").replace("\u200f", "\\u200f")
    assert page.locator(".layers summary code").first.text_content() == said
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("searchbox").fill(said[:50])
    assert names(page)


def test_a_frame_of_the_service_runs_it(visits: Visits, tmp_path: Path) -> None:
    """In a sandboxed frame without an address it sorts, filters and follows its own links."""
    place = tmp_path / "page.html"
    place.write_text(
        '<!doctype html><html lang="en"><title>t</title><body><main><h1>t</h1>'
        '<iframe title="report" sandbox="allow-scripts" width="1200" height="800"></iframe></main>'
    )
    page = visits.open(place.as_uri())
    page.locator("iframe").evaluate(
        "(frame, text) => frame.srcdoc = text", html.render(building.folder())
    )
    frame = page.frame_locator("iframe")
    frame.get_by_role("searchbox").fill("part1")
    frame.locator("output", has_text="of").wait_for()
    link = frame.get_by_role("link", name="part1/model.pt")
    assert link.count() == 1
    link.click()
    assert frame.locator("#file-2").evaluate("each => each === document.activeElement")
    frame.get_by_role("searchbox").fill("")
    frame.locator(".layers thead button").first.click()
    assert frame.locator("[aria-sort]").count() == 1
    frame.get_by_role("button", name="Copy").first.click()
    frame.get_by_text("Copied.").wait_for()


def test_a_large_report_appears_at_once(show: Callable[..., Page]) -> None:
    """A report on 500 layers is below 1 MB, and its first paint takes less than a second."""
    paints = []
    for _ in range(3):
        page = show(building.large(500))
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        paints.append(
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        )
        assert page.evaluate("document.documentElement.outerHTML.length") < 1_000_000
    assert min(paints) < 1000, paints
