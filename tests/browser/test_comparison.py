"""The page that compares two reports, as the service sends it to a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convlast.report import Report
from tests.browser.axe import violations
from tests.browser.conftest import Visits
from tests.convlast.report.rendering.building import HOSTILE
from tests.convlast.report.rendering.comparison.test_page import pair
from tests.service.running import Running, served

pytestmark = pytest.mark.browser

LOOKS = [(dark, narrow) for dark in (False, True) for narrow in (False, True)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with the fake task."""
    with served(tmp_path_factory.mktemp("service")) as running:
        yield running


def comparison_of(service: Running, *reports: Report) -> str:
    """Store two reports as those of two jobs, and return the address of their comparison."""
    jobs = []
    for index, report in enumerate(reports):
        content = f"fine {index} {hash(report.input.filename)}".encode()
        answer = service.convert(content, headers={"Accept": "application/json"}).json()
        jobs.append(answer["links"]["report"].split("/")[2])
        [stored] = (service.work_dir / "store" / jobs[-1]).rglob("report.json")
        stored.write_text(report.model_dump_json())
    return f"{service.url}/jobs/{jobs[0]}/comparison?with={jobs[1]}"


@pytest.mark.parametrize("text", ["a name", HOSTILE, "x" * 10_000], ids=["tame", "hostile", "long"])
@pytest.mark.parametrize(("dark", "narrow"), LOOKS)
def test_everybody_can_read_it(
    visits: Visits, service: Running, text: str, dark: bool, narrow: bool
) -> None:
    """Axe finds nothing, and the page is no wider than the screen, whatever the names are."""
    page = visits.open(comparison_of(service, *pair(text)), dark=dark, narrow=narrow)
    assert page.locator("h1").inner_text() == "Better and worse"
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("main img, main script, main a").count() == 0


def test_tables_can_be_sorted(visits: Visits, service: Running) -> None:
    """The script of the report runs here too, under the policy that the service sends."""
    page = visits.open(comparison_of(service, *pair()))
    button = page.locator("section", has_text="What it says").locator("thead button").first
    button.click()
    assert page.locator("th[aria-sort=ascending]").count() == 1


def test_it_needs_no_script(visits: Visits, service: Running) -> None:
    """Without script the page shows everything."""
    page = visits.open(comparison_of(service, *pair()), script=False)
    assert page.locator("section").count() == 15
    assert "1.90 ± 0.01 ×" in page.inner_text("main")
    assert "encoder.stages.0.0.convs.0.conv.weight" in page.inner_text("main")


def test_nothing_changed(visits: Visits, service: Running) -> None:
    """A report compared with itself says so, and axe finds nothing."""
    report, _ = pair()
    page = visits.open(comparison_of(service, report, report))
    assert page.locator("h1").inner_text() == "Nothing changed"
    assert violations(page) == []
