from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest

from convlast.report.rendering import assets as report_assets
from convlast.report.rendering.assets import source_of
from service.connection.protection import CSP, FIELDS
from service.routes.pages import assets, home
from tests.service.running import Running, served

ACTIVE = {"img", "iframe", "object", "embed", "base", "meta"}


class Reader(HTMLParser):
    """Collects the elements and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service with keys, without the page."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text("alice:s3cret-key\n")
    with served(folder, api_keys_file=folder / "keys", page=False) as running:
        yield running


def get(service: Running, path: str = "/") -> httpx.Response:
    """Send a GET without a key."""
    return httpx.get(service.url + path, trust_env=False)


def test_the_policy_allows_the_style_and_the_script_of_the_page(service: Running) -> None:
    """The digests in the policy are those of the one style and the one script."""
    answer = get(service)
    policy = answer.headers[CSP]
    for name, attributes in (("style", ""), ("script", ' type="module"')):
        (text,) = re.findall(rf"<{name}{attributes}>(.*?)</{name}>", answer.text, re.DOTALL)
        assert source_of(text) in re.search(rf"{name}-src ([^;]*);", policy)[1]  # type: ignore[index]  # it is there
        assert answer.text.count(f"<{name}") == 1
    assert "unsafe" not in policy


def test_the_policy_allows_the_report_in_its_frame(service: Running) -> None:
    """A frame inherits the policy, which names the style and the script of a report."""
    policy = get(service).headers[CSP]
    assert source_of(report_assets.STYLE) in policy
    assert source_of(report_assets.SCRIPT) in policy


def test_the_page_reaches_nothing_but_the_service(service: Running) -> None:
    """All but requests to the service is forbidden, and the page may not be framed."""
    answer = get(service)
    rules = dict(each.strip().partition(" ")[::2] for each in answer.headers[CSP].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert {rules[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert {
        name: answer.headers[name] for name in FIELDS if name != CSP
    } == {name: value for name, value in FIELDS.items() if name != CSP}  # fmt: skip


def test_the_page_needs_nothing_else() -> None:
    """No element loads anything, has an inline style, or handles events by an attribute."""
    for tag, attributes in Reader(home.render(has_docs=True)).elements:
        assert tag not in ACTIVE - {"meta"}, tag
        assert "src" not in attributes
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        href = attributes.get("href")
        assert href in (None, "docs", "data:,"), href


def test_every_element_that_the_script_looks_for_is_there() -> None:
    """Each id in the script is the id of one element."""
    ids = [attributes.get("id") for _, attributes in Reader(home.render(has_docs=True)).elements]
    there = [each for each in ids if each]
    assert len(there) == len(set(there))
    wanted = set(re.findall(r'byId\("([a-z-]+)"\)', assets.SCRIPT))
    assert len(wanted) > 20
    assert wanted <= set(there)


def test_the_script_makes_no_html_of_text() -> None:
    """Names from files go into the page as text: nothing in the script parses HTML."""
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in assets.SCRIPT
    assert "</script" not in assets.SCRIPT


def test_the_page_has_a_head(service: Running) -> None:
    """HEAD is answered like GET, without the page."""
    head = httpx.head(service.url + "/", trust_env=False)
    assert head.status_code == 200
    assert head.headers["content-type"] == "text/html; charset=utf-8"
    assert head.headers["content-length"] == get(service).headers["content-length"]
    assert not head.content


def test_other_methods_are_refused(service: Running) -> None:
    """The page takes nothing: a form that was sent to it is refused."""
    answer = httpx.post(service.url + "/", trust_env=False)
    assert answer.json()["code"] == "method-not-allowed"
    assert answer.headers["allow"] == "GET, HEAD"


def test_the_page_can_be_switched_off(guarded: Running) -> None:
    """With CONVLAST_PAGE=false there is nothing at `/`."""
    assert get(guarded).json()["code"] == "not-found"


def test_the_page_links_to_the_documentation_if_there_is_one() -> None:
    """Without `/docs` nothing leads there."""
    for has_docs in (True, False):
        assert ('href="docs"' in home.render(has_docs=has_docs)) == has_docs


def test_without_script_the_page_offers_curl() -> None:
    """The part for browsers without script has the lines for curl, which names both verbs."""
    page = home.render(has_docs=True)
    part = page.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "curl" in part
    assert "/convert" in part
    assert "/inspect" in part
