from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from convlast.options import Options
from service.app import create_app
from service.problems import TABLE
from service.routes import docs
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


def test_the_page_needs_nothing_else(page: str) -> None:
    """The page runs no script and loads nothing; its one link leads to the document."""

    class Reader(HTMLParser):
        """Collects the tags and their attributes."""

        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()
            self.attributes: set[tuple[str, str | None]] = set()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.add(tag)
            self.attributes.update(attrs)

    reader = Reader()
    reader.feed(page)
    assert reader.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    assert {value for name, value in reader.attributes if name == "href"} == {"openapi.json"}
    assert not any(
        name in ("src", "style") or name.startswith("on") for name, _ in reader.attributes
    )


def test_the_policy_allows_the_style_of_the_page(service: Running) -> None:
    """The digest in the policy is that of the style."""
    answer = httpx.get(f"{service.url}/docs", trust_env=False)
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
