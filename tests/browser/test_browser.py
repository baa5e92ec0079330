"""The browser tests' own tools: what they must notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.axe import violations
from tests.browser.conftest import Visits

pytestmark = pytest.mark.browser


def written(folder: Path, body: str) -> str:
    """Write a page, and return its address."""
    page = folder / "page.html"
    page.write_text(f'<!doctype html><html lang="en"><title>t</title><body>{body}</body></html>')
    return page.as_uri()


def test_axe_finds_what_is_wrong(visits: Visits, tmp_path: Path) -> None:
    """A faint text and a picture without a name are found, a sound page has no violation."""
    faint = '<main><h1>t</h1><p style="color: #aaa; background: #fff">faint</p><svg role="img"/>'
    found = violations(visits.open(written(tmp_path, faint)))
    assert {text.split()[0] for text in found} >= {"color-contrast", "svg-img-alt"}
    assert violations(visits.open(written(tmp_path, "<main><h1>t</h1></main>"))) == []


def test_messages_and_foreign_requests_are_noticed(visits: Visits, tmp_path: Path) -> None:
    """A logged message, an error, and a request to another host are told apart from silence."""
    body = "<main><h1>t</h1><script>console.log('said'); throw Error('wrong')</script></main>"
    visits.open(written(tmp_path, body))
    assert visits.unexpected() == ["said", "error: wrong"]
    visits.open(written(tmp_path, '<img src="http://127.0.0.2:1/x" alt="">'))
    assert visits.hosts == {"127.0.0.2"}
    visits.said.clear()
    visits.hosts.clear()
