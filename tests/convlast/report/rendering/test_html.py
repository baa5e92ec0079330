from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from convlast.report import Report
from convlast.report.rendering import assets, html
from convlast.report.rendering.markup import Markup, element, escape

RECORDED = Path(__file__).parent / "report.json"
HOSTILE = """</code></style><script>alert(1)</script><img src=x onerror='a' "&\x00\u202e"""
CHOICES = {
    "schema_version",
    "verdict",
    "severity",
    "kind",
    "status",
    "values",
    "strides",
    "structure",
    "scope",
    "decision",
    "options",
}
"""Fields that have one of a few words; all other text comes from the sender."""
VOID = {"meta"}


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


@pytest.fixture
def report() -> Report:
    """A report with each status, each severity and each kind of smoke."""
    return Report.model_validate_json(RECORDED.read_bytes())


@pytest.fixture
def hostile_report() -> Report:
    """The same report, in which every text that is not one of a few words is hostile."""

    def poison(value: object, field: str = "") -> object:
        if isinstance(value, dict):
            return {k: v if k in CHOICES else poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return HOSTILE if isinstance(value, str) else value

    return Report.model_validate(poison(json.loads(RECORDED.read_bytes())))


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


def test_page_needs_nothing_from_outside(report: Report) -> None:
    """The page loads nothing and links to nothing, and its policy forbids both."""
    page = html.render(report)
    parsed = Page(page)

    attributes = {name for _, found in parsed.elements for name in found}
    assert attributes <= {
        "charset",
        "http-equiv",
        "content",
        "name",
        "lang",
        "class",
        "scope",
        "aria-hidden",
    }
    assert "url(" not in page
    assert "@import" not in page
    policy = next(a["content"] for _, a in parsed.elements if a.get("http-equiv"))
    style, script = (f"{assets.source_of(text)}" for text in (assets.STYLE, assets.SCRIPT))
    assert policy == f"default-src 'none'; style-src {style}; script-src {script}"


def test_hostile_text_stays_text(report: Report, hostile_report: Report) -> None:
    """With every name and message hostile, the page has the very same elements and classes."""
    tame, hostile = Page(html.render(report)), Page(html.render(hostile_report))

    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in tame.elements}
    assert [tag for tag, _ in hostile.elements].count("script") == 1  # our own
    assert hostile.open == []
    assert any("<script>alert(1)</script>" in text for text in hostile.text)
    assert not set("".join(hostile.text)) & set("\x00\u202e")


def test_same_report_gives_the_same_page(report: Report) -> None:
    """The same report gives the same page."""
    assert html.render(report) == html.render(report.model_copy(deep=True))


def test_page_has_both_colour_schemes_and_a_print_form(report: Report) -> None:
    """The page follows the reader's colour scheme, and has a form for printing."""
    page = html.render(report)

    assert "color-scheme: light dark" in page
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media print" in page


def test_inspection_has_no_empty_sections(report: Report) -> None:
    """A report without artifact, proof, smoke, advice, findings and layers leaves them out."""
    absent = {"artifact": None, "proof": None, "smoke": None, "advice": None}
    nothing: dict[str, object] = {"findings": [], "survival": [], "layers": [], "seconds": {}}

    page = html.render(report.model_copy(update=absent | nothing))

    assert "nothing written" in page
    for title in ("What to do", "Findings", "Layers", "Ways of loading", "Wall time"):
        assert f">{title}<" not in page


def test_element_escapes_text_and_attributes_but_not_markup() -> None:
    """The result of `element` is inserted unchanged; all other text is escaped."""
    inner = element("b", "<")

    assert element("p", inner, ">", title='"') == '<p title="&quot;"><b>&lt;</b>&gt;</p>'
    assert escape(Markup("<hr>")) == "<hr>"
