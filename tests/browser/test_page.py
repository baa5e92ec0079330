"""The page at `/` with a real service: from a file that is dropped to the artifact."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

import convlast
from tests import builders
from tests.browser.conftest import Visits
from tests.browser.dropping import (
    LONG_MS,
    convert,
    drop,
    drop_paths,
    report,
    wait_for_conversion,
    wait_for_inspection,
)
from tests.convlast.folders import building
from tests.service.running import REAL, Running, served, start

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the service with convlast itself in its workers."""
    running = start(tmp_path_factory.mktemp("service"), REAL, device="cpu")
    running.wait_until_ready()
    yield running
    running.stop()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Write a checkpoint of a small model."""
    return builders.save(builders.a_model().state_dict(), tmp_path / "small.pt")


def download(page: Page, name: str) -> Path:
    """Download a file by its link."""
    with page.expect_download() as started:
        page.get_by_role("link", name=name, exact=True).click()
    return started.value.path()


def opened_job(page: Page) -> str:
    """Return the id of the job that is looked at."""
    return page.url.partition("#job=")[2]


def test_a_file_is_dropped_inspected_converted_and_downloaded(
    service: Running, visits: Visits, checkpoint: Path
) -> None:
    """The whole way: what would be converted, the verdict, the report, and the exact artifact."""
    page = visits.open(service.url)
    drop(page, (checkpoint.name, checkpoint.read_bytes()))
    wait_for_inspection(page)
    expect(page.locator("#job-summary")).to_contain_text("would be converted")
    inspected = opened_job(page)
    convert(page)
    wait_for_conversion(page)
    assert opened_job(page) != inspected
    expect(page.locator("#job-verdict")).to_have_text(re.compile("^Passed"))
    expect(report(page).locator("h1")).to_have_text(re.compile("^Passed"), timeout=LONG_MS)
    artifact = download(page, "Artifact")
    with service.client() as client:
        digest = client.head(f"/jobs/{opened_job(page)}/artifact").headers["repr-digest"]
        told = client.get(f"/jobs/{opened_job(page)}/report").json()
    found = hashlib.sha256(artifact.read_bytes())
    assert digest == f"sha-256=:{base64.b64encode(found.digest()).decode()}:"
    assert told["artifact"]["sha256"] == found.hexdigest()
    assert convlast.verify(checkpoint, artifact).verdict == told["verdict"]


@pytest.mark.shared
def test_a_real_checkpoint_is_dropped_and_converted(
    service: Running, visits: Visits, shared_checkpoints: Path
) -> None:
    """A checkpoint that others have trained goes the same way, dropped as the desktop does it."""
    checkpoint = shared_checkpoints / "meshnet.pth"
    page = visits.open(service.url)
    drop_paths(page, checkpoint)
    wait_for_inspection(page)
    convert(page)
    wait_for_conversion(page)
    expect(report(page).locator("h1")).to_have_text(re.compile("^Passed"), timeout=LONG_MS)
    assert convlast.verify(checkpoint, download(page, "Artifact")).verdict != "failed"


def test_the_bytes_are_uploaded_once(service: Running, visits: Visits, checkpoint: Path) -> None:
    """The conversion names the bytes that the inspection brought, and sends none."""
    page = visits.open(service.url)
    sent: list[tuple[str, str]] = []
    page.on("request", lambda each: sent.append((each.method, each.url)))
    page.set_input_files("#files", checkpoint)
    wait_for_inspection(page)
    convert(page)
    wait_for_conversion(page)
    posted = [url for method, url in sent if method == "POST"]
    assert posted == [f"{service.url}/inspect?filename=small.pt", f"{service.url}/convert"]


def test_every_file_of_a_job_can_be_downloaded(
    service: Running, visits: Visits, checkpoint: Path
) -> None:
    """The report comes in three kinds, the statement by itself, and all files in one zip."""
    page = visits.open(service.url)
    page.set_input_files("#files", checkpoint)
    wait_for_inspection(page)
    convert(page)
    wait_for_conversion(page)
    assert download(page, "Report (HTML)").read_text().startswith("<!doctype html>")
    assert json.loads(download(page, "Report (JSON)").read_text())["input"]["filename"] == (
        "small.pt"
    )
    assert "`small.pt`" in download(page, "Report (Markdown)").read_text()
    assert json.loads(download(page, "Statement").read_text())["subject"]
    with zipfile.ZipFile(download(page, "All as a zip")) as archive:
        assert {"report.json", "report.html"} < set(archive.namelist())


def test_options_are_sent(service: Running, visits: Visits, checkpoint: Path) -> None:
    """What is chosen in the form is what the job has; the rest stays at its default."""
    page = visits.open(service.url)
    page.set_input_files("#files", checkpoint)
    wait_for_inspection(page)
    page.get_by_label("Smoke", exact=True).select_option("none")
    page.get_by_label("Select", exact=True).fill("0.weight, 2.weight")
    page.get_by_text("More options").click()
    page.get_by_label("Smoke seconds").fill("5")
    convert(page)
    wait_for_conversion(page)
    told = httpx.get(f"{service.url}/jobs/{opened_job(page)}", trust_env=False).json()
    assert told["options"] == {
        "smoke": "none", "select": ["0.weight", "2.weight"], "smoke_seconds": 5.0
    }  # fmt: skip
    # And the form has them again.
    expect(page.get_by_label("Select", exact=True)).to_have_value("0.weight,2.weight")


def test_a_bad_option_is_shown_at_its_field(
    service: Running, visits: Visits, checkpoint: Path
) -> None:
    """The field at fault has the focus and is marked, and the reason stands below."""
    visits.expected.append("status of 422")
    page = visits.open(service.url)
    page.set_input_files("#files", checkpoint)
    wait_for_inspection(page)
    page.get_by_text("More options").click()
    field = page.get_by_label("Input shape")
    field.fill("1,2,3")
    page.get_by_text("More options").click()
    convert(page)
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#options-problem")).to_contain_text("five numbers are wanted")


def test_several_files_are_converted_with_the_same_options(
    service: Running, visits: Visits, tmp_path: Path
) -> None:
    """Each file has its own job, and one form can convert all that are inspected."""
    names = ["one.pt", "two.pt", "three.pt"]
    for start_at, name in enumerate(names):
        weights = {"conv.weight": builders.numbered(*builders.SHAPE, start=start_at)}
        builders.save(weights, tmp_path / name)
    page = visits.open(service.url)
    page.set_input_files("#files", [tmp_path / name for name in names])
    for name in names:
        row = page.locator("#jobs li", has_text=f"Inspection of {name}")
        expect(row).to_contain_text("done", timeout=LONG_MS)
    page.get_by_role("link", name="Inspection of one.pt").click()
    page.get_by_label("Smoke", exact=True).select_option("none")
    page.get_by_label(re.compile("^Also convert")).check()
    convert(page)
    for name in names:
        row = page.locator("#jobs li", has_text=f"Conversion of {name}")
        expect(row).to_contain_text("Passed", timeout=LONG_MS)


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_folder_is_packed_and_converted(
    service: Running, visits: Visits, tmp_path: Path, way: str
) -> None:
    """A model folder becomes a tar, with long and foreign names, and comes back converted."""
    folder = building.model_folder(tmp_path / f"a model {way}")
    long = folder / ("deep" * 20) / "ünïcode – 名前.txt"
    long.parent.mkdir()
    long.write_text("kept")
    page = visits.open(service.url)
    if way == "chosen":
        page.set_input_files("#folder", folder)
    else:
        drop_paths(page, folder)
    wait_for_inspection(page)
    page.get_by_label("Smoke", exact=True).select_option("none")
    convert(page)
    wait_for_conversion(page)
    with tarfile.open(download(page, "Artifact")) as archive:
        names = archive.getnames()
        assert f"{folder.name}/{long.relative_to(folder)}" in names
        assert f"{folder.name}/checkpoint_final.pth" in names


def test_the_page_works_below_a_prefix(visits: Visits, checkpoint: Path, tmp_path: Path) -> None:
    """It asks below the prefix, also if its address has no slash at the end."""
    prefix = "/tools/convlast"
    with served(tmp_path, REAL, device="cpu", root_path=prefix) as below:
        page = visits.open(below.url + prefix)
        drop(page, (checkpoint.name, checkpoint.read_bytes()))
        wait_for_inspection(page)
        expect(page.locator("#job-summary")).to_contain_text("would be converted")
        asked = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
        assert asked
        assert all(url.startswith(f"{below.url}{prefix}/") for url in asked if "http" in url)
