from __future__ import annotations

import base64
import hashlib
import html
import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from convlast.options import Options
from service.app import create_app
from service.problems import TABLE
from service.routes import docs
from service.routes.examples import CURL
from service.settings import Settings
from tests.service.running import Running


@pytest.fixture
def page(tmp_path: Path) -> str:
    """Return the page of an application that is not running."""
    app = create_app(Settings(work_dir=tmp_path))
    app.state.context.workspace.close()
    return docs.render(app.openapi())


def test_the_page_has_the_whole_interface(page: str) -> None:
    """The page contains every path, option and code."""
    for path in ("/convert", "/inspect", "/jobs/{job_id}/artifact", "/readyz", "/metrics"):
        assert f"<code>{path}</code>" in page
    for option in Options.model_fields:
        assert f"<code>{option}</code>" in page
    for code in set(TABLE) - {"method-not-allowed"}:
        assert f"<code>{code}</code>" in page


class Reader(HTMLParser):
    """Collects the tags of a page, their attributes, and the terms of its lists."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.terms: list[str] = []
        self._is_term = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag; in a term, the code in it is its name."""
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag == "dt":
            self.terms.append("")
        self._is_term = tag == "dt" or (self._is_term and tag in ("span", "code"))

    def handle_endtag(self, tag: str) -> None:
        """Leave the name of a term."""
        self._is_term = self._is_term and tag != "code"

    def handle_data(self, data: str) -> None:
        """Collect the name of a term."""
        if self._is_term:
            self.terms[-1] += data


def test_the_page_needs_nothing_else(page: str) -> None:
    """The page runs no script and loads nothing; its links lead to itself, and to the document."""
    reader = Reader(page)
    assert set(reader.tags).isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    places = {f"#{value}" for name, value in reader.attributes if name == "id"}
    links = {value for name, value in reader.attributes if name == "href"}
    assert links == places | {"openapi.json"}
    assert not any(
        name in ("src", "style") or name.startswith("on") for name, _ in reader.attributes
    )


def test_each_option_and_each_problem_is_described_once(page: str) -> None:
    """Operations that take options link to them, and the page stays short."""
    terms = Counter(term.strip() for term in Reader(page).terms)
    for name in (*Options.model_fields, *TABLE):
        assert terms[name] == 1, name


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ("memory_format", "channels_last_3d"),
        ("select", "all"),
        ("smoke_seconds", "60"),
        ("input_shape", "none"),
        ("architecture_options", "{}"),
    ],
)
def test_each_option_has_its_default(page: str, option: str, default: str) -> None:
    """The default stands beside the name, as a form has it."""
    shown = f'<code>{option}</code> <span class="quiet">default <code>{default}</code></span>'
    assert page.count(shown) == 1


def test_each_operation_has_its_example(page: str) -> None:
    """The page has each line of curl, as it can be copied."""
    for example in CURL.values():
        assert f"<pre><code>{html.escape(example)}</code></pre>" in page


def test_the_headings_are_in_order(page: str) -> None:
    """There is one heading of the first level, and none skips a level."""
    levels = [int(tag[1]) for tag in Reader(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(level <= before + 1 for before, level in itertools.pairwise(levels))


def test_the_policy_allows_the_style_of_the_page(service: Running) -> None:
    """The digest in the policy is that of the style."""
    answer = httpx.get(f"{service.url}/docs", trust_env=False)
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
