from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise

import pytest

from convlast.report import Report
from convlast.report.rendering import assets, html
from convlast.report.rendering.markup import Markup, element, escape
from tests.convlast.report.rendering import building

VOID = {"meta", "input"}
KINDS = {
    "recorded": building.recorded,
    "large": building.large,
    "failed": building.failed,
    "folder": building.folder,
}


class Page(HTMLParser):
    """Reads a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element, and that it is open."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Assert that the innermost open element ends."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep text that a reader sees."""
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    @property
    def headings(self) -> list[int]:
        """The level of each heading, in the order of the page."""
        return [int(tag[1]) for tag, _ in self.elements if tag in {"h1", "h2", "h3", "h4"}]


@pytest.fixture(params=KINDS)
def any_report(request: pytest.FixtureRequest) -> Report:
    """A report of each kind."""
    return KINDS[request.param]()


@pytest.fixture
def report() -> Report:
    """A report with each status, each severity and each kind of smoke."""
    return building.recorded()


def test_page_is_well_formed_and_says_everything(report: Report) -> None:
    """Each element is closed; verdict, claims, findings, layers, routes, ranges, facts exist."""
    page = Page(html.render(report))
    text = " ".join(page.text)

    assert page.open == []
    expected = {"Passed with findings", "Converted exactly", report.input.sha256}
    expected |= {layer.name for layer in report.layers}
    expected |= {finding.message for finding in report.findings}
    expected |= {route.route for route in report.survival}
    assert report.smoke is not None
    assert report.advice is not None
    expected |= {found.name for found in report.smoke.range}
    expected |= {flip.module for flip in report.smoke.flips}
    expected |= set(report.advice.load.splitlines())
    assert {words for words in expected if words not in text} == set()


def test_page_needs_nothing_from_outside(any_report: Report) -> None:
    """The page loads nothing, links to itself alone, and its policy forbids all else."""
    page = html.render(any_report)
    parsed = Page(page)

    for _, attributes in parsed.elements:
        assert not {"src", "style", "action", "srcset"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page
    assert "@import" not in page
    policy = next(a["content"] for _, a in parsed.elements if a.get("http-equiv"))
    style, script = (assets.source_of(text) for text in (assets.STYLE, assets.SCRIPT))
    assert policy == f"default-src 'none'; style-src {style}; script-src {script}"


def test_headings_skip_no_level(any_report: Report) -> None:
    """There is one heading of the first level, and no heading is more than one level deeper."""
    levels = Page(html.render(any_report)).headings

    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_hostile_text_stays_text(any_report: Report) -> None:
    """With every name and message hostile, the page has the very same elements and classes."""
    tame = Page(html.render(any_report))
    hostile = Page(html.render(building.poisoned(any_report)))

    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in tame.elements}
    assert [tag for tag, _ in hostile.elements].count("script") == 1  # our own
    assert hostile.open == []
    assert any("<script>alert(1)</script>" in text for text in hostile.text)
    assert not set("".join(hostile.text)) & set("\x00\u202e")


def test_same_report_gives_the_same_page(any_report: Report) -> None:
    """The same report gives the same page."""
    assert html.render(any_report) == html.render(any_report.model_copy(deep=True))


def test_page_has_both_colour_schemes_and_a_print_form(report: Report) -> None:
    """The page follows the reader's colour scheme, and has a form for printing."""
    page = html.render(report)

    assert "color-scheme: light dark" in page
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media print" in page


def test_a_large_model_is_a_small_page() -> None:
    """A report on 500 layers has all of them, in less than 1 MB."""
    page = html.render(building.large(500))

    assert page.count(".convolution.weight</code>") == 500
    assert len(page.encode()) < 1_000_000


def test_inspection_has_no_empty_sections(report: Report) -> None:
    """A report without artifact, proof, smoke, advice, findings and layers leaves them out."""
    absent = {"artifact": None, "proof": None, "smoke": None, "advice": None}
    nothing: dict[str, object] = {"findings": [], "survival": [], "layers": [], "seconds": {}}

    page = html.render(report.model_copy(update=absent | nothing))

    assert "nothing written" in page
    for title in ("What was proved", "Findings", "Layers", "Ways of loading", "Wall time"):
        assert f">{title}<" not in page


def test_a_failed_report_has_no_line_that_loads(report: Report) -> None:
    """The line that loads the artifact is only there if there is an artifact."""
    assert 'class="load"' in html.render(report)
    assert 'class="load"' not in html.render(building.failed())


def test_element_escapes_text_and_attributes_but_not_markup() -> None:
    """The result of `element` is inserted unchanged; all other text is escaped."""
    inner = element("b", "<")

    assert element("p", inner, ">", title='"') == '<p title="&quot;"><b>&lt;</b>&gt;</p>'
    assert escape(Markup("<hr>")) == "<hr>"
