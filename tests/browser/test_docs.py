"""`/docs` in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.routes.examples import CURL
from tests.browser.axe import violations
from tests.browser.conftest import Visits
from tests.service.running import Running, served

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with the fake task."""
    with served(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
def test_everybody_can_read_it(visits: Visits, service: Running, dark: bool, narrow: bool) -> None:
    """Axe finds nothing, the style is not blocked, and nothing is wider than the screen."""
    page = visits.open(f"{service.url}/docs", dark=dark, narrow=narrow)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("h3 .method").first.evaluate("b => getComputedStyle(b).color") != (
        page.locator("h2").first.evaluate("h => getComputedStyle(h).color")
    )


def test_the_contents_lead_to_each_part(visits: Visits, service: Running) -> None:
    """Each link leads to a heading of its name, and each example can be selected as it is."""
    page = visits.open(f"{service.url}/docs", script=False)
    links = page.locator("nav a")
    assert links.count() == len(CURL) + 2
    for index in range(links.count()):
        links.nth(index).click()
        place = page.locator(links.nth(index).get_attribute("href") or "")
        assert place.inner_text().split() == links.nth(index).inner_text().split()
    shown = [text.strip() for text in page.locator("section pre").all_inner_texts()]
    assert sorted(shown) == sorted(CURL.values())
