"""The page at `/` when something goes wrong, or is stopped, or needs a key."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visits
from tests.browser.dropping import (
    LONG_MS,
    convert,
    drop,
    wait_for_conversion,
    wait_for_inspection,
)
from tests.service.running import Running, served, start, wait_for

pytestmark = pytest.mark.browser

KEY = "s3cret-key"
CUT = "ERR_|failed: "


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service whose workers do what the first word of a file says."""
    with served(tmp_path_factory.mktemp("service"), workers=2, max_upload_bytes=1 << 20) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run such a service with a key."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text(f"alice:{KEY}\n")
    with served(folder, api_keys_file=folder / "keys") as running:
        yield running


def inspected(page: Page, name: str, content: bytes) -> None:
    """Drop a file that is inspected without trouble."""
    drop(page, (name, content))
    wait_for_inspection(page)


@pytest.mark.parametrize(
    ("content", "title", "detail"),
    [
        (b"refuses", "The checkpoint asks for code", "os.system"),
        (b"has-no-weights", "No Conv3d weights", "None of the 2 tensors"),
        (b"exceeds 7", "A limit is exceeded", "max_tensors"),
        (b"raises-code not-a-checkpoint", "Not a checkpoint", "As it was asked for."),
        (b"raises-code malformed-checkpoint", "The checkpoint is damaged", "As it was asked for."),
        (b"raises-code program-not-allowed", "Programs are not allowed", "As it was asked for."),
        (b"raises", "Internal error", "request id leads to it"),
        (b"exhausts-memory", "Out of memory", ""),
        (b"fills-the-disk", "The storage is full", ""),
        (b"exits", "The worker crashed", "ended"),
    ],
)
def test_every_refusal_is_told_in_words(
    service: Running, visits: Visits, content: bytes, title: str, detail: str
) -> None:
    """A job that fails says what is wrong; it can be tried again if the system was at fault."""
    page = visits.open(service.url)
    drop(page, (f"{content.split()[-1].decode()}.pt", content))
    problem = page.locator("#job-problem")
    expect(problem.locator("h3")).to_have_text(title, timeout=LONG_MS)
    expect(problem).to_contain_text(detail)
    is_of_system = title in {
        "Internal error", "Out of memory", "The storage is full", "The worker crashed"
    }  # fmt: skip
    expect(problem.get_by_role("button", name="Try again")).to_have_count(int(is_of_system))
    expect(page.locator("#options-form")).to_be_hidden()


def test_a_job_that_crashed_is_run_anew(service: Running, visits: Visits) -> None:
    """If the system was at fault the same request runs anew: the job has a later beginning."""
    page = visits.open(service.url)
    drop(page, ("again.pt", b"kills-itself again"))
    problem = page.locator("#job-problem")
    expect(problem.locator("h3")).to_have_text("The worker crashed", timeout=LONG_MS)
    job_id = page.url.partition("#job=")[2]
    with service.client() as client:

        def began_at() -> str:
            # For a moment there is no such job: the old one is removed first.
            return str(client.get(f"/jobs/{job_id}").json().get("created_at", ""))

        before = began_at()
        problem.get_by_role("button", name="Try again").click()
        wait_for(lambda: began_at() > before)
    assert page.url.endswith(job_id)
    expect(problem.locator("h3")).to_have_text("The worker crashed", timeout=LONG_MS)
    expect(page.locator("#jobs li", has_text="again.pt")).to_contain_text("The worker crashed")


def test_a_failed_verification_is_shown_with_its_report(service: Running, visits: Visits) -> None:
    """The verdict and the reason are shown, and the report can be downloaded."""
    page = visits.open(service.url)
    # Only a conversion verifies: the job is made by the same service.
    with service.client() as client:
        files = {"checkpoint": ("wrong.pt", b"fails-verification 3")}
        job = client.post("/convert", files=files, headers={"Prefer": "respond-async"}).json()
    page.goto(f"{service.url}/#job={job['id']}")
    expect(page.locator("#job-verdict")).to_have_text("Failed", timeout=LONG_MS)
    expect(page.locator("#job-problem")).to_contain_text("The values differ.")
    expect(page.get_by_role("link", name="Report (JSON)")).to_be_visible()


def test_an_upload_that_is_refused_can_be_tried_again(service: Running, visits: Visits) -> None:
    """A file beyond the limit has its reason in its own row, which can be dismissed."""
    visits.expected += ["status of 413", CUT]
    page = visits.open(service.url)
    drop(page, ("large.pt", bytes(2 << 20)))
    row = page.locator("#uploads li")
    expect(row.locator("h3")).to_have_text("The upload is too large", timeout=LONG_MS)
    expect(row).to_contain_text("CONVLAST_MAX_UPLOAD_BYTES")
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_have_count(0)
    expect(page.locator("#choose-files")).to_be_focused()


def test_an_empty_file_is_refused(service: Running, visits: Visits) -> None:
    """A file without bytes is refused in words."""
    visits.expected.append("status of 422")
    page = visits.open(service.url)
    drop(page, ("empty.pt", b""))
    expect(page.locator("#uploads h3")).to_have_text("Not a checkpoint", timeout=LONG_MS)


def test_a_full_service_is_told(service: Running, visits: Visits) -> None:
    """A refusal that passes is told with its detail, and the same file can be sent again."""
    visits.expected.append("status of 503")
    page = visits.open(service.url)
    problem = (
        '{"code": "queue-full", "title": "The queue is full", "status": 503, '
        '"detail": "All 33 places are taken."}'
    )
    answered: list[str] = []

    def refuse(route: Route) -> None:
        answered.append(route.request.url)
        media_type = "application/problem+json"
        route.fulfill(status=503, body=problem, content_type=media_type)

    page.route("**/inspect*", refuse)
    drop(page, ("later.pt", b"fine later"))
    row = page.locator("#uploads li")
    expect(row).to_contain_text("All 33 places are taken.")
    page.unroute("**/inspect*")
    row.get_by_role("button", name="Try again").click()
    wait_for_inspection(page)
    assert len(answered) == 1


def test_an_answer_of_a_gateway_is_told(service: Running, visits: Visits) -> None:
    """An answer that is not the service's own is told as such."""
    visits.expected.append("status of 502")
    page = visits.open(service.url)
    page.route("**/inspect*", lambda route: route.fulfill(status=502, body="<h1>Bad</h1>"))
    drop(page, ("m.pt", b"fine"))
    expect(page.locator("#uploads li")).to_contain_text("The answer has status 502")


def test_a_lost_connection_is_told_and_the_upload_tried_again(
    service: Running, visits: Visits
) -> None:
    """An upload that is cut says so, and begins anew on request."""
    visits.expected.append(CUT)
    page = visits.open(service.url)
    page.route("**/inspect*", lambda route: route.abort("connectionreset"))
    drop(page, ("cut.pt", b"fine but cut"))
    row = page.locator("#uploads li")
    expect(row.locator("h3")).to_have_text("The upload was cut")
    page.unroute("**/inspect*")
    row.get_by_role("button", name="Try again").click()
    wait_for_inspection(page)


def test_an_upload_tells_how_far_it_is_and_can_be_cancelled(
    service: Running, visits: Visits
) -> None:
    """The bar grows with the bytes that were sent; cancelling ends it, and leaves no job."""
    visits.expected.append(CUT)
    page = visits.open(service.url)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    drop(page, ("slow.pt", b"fine and slow " * 50_000))
    row = page.locator("#uploads li")
    expect(row).to_contain_text(re.compile(r"Uploading: [1-9]\d* kB of 700 kB"), timeout=LONG_MS)
    assert 0 < float(row.locator("progress").get_attribute("value") or 0) < 1
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_have_count(0)
    expect(page.locator("#jobs li", has_text="slow.pt")).to_have_count(0)


def test_progress_is_shown_as_it_comes(service: Running, visits: Visits) -> None:
    """The bar grows with the bytes that are written, and the stage is told in words."""
    page = visits.open(service.url)
    drop(page, ("counts.pt", b"counts 4"))
    expect(page.locator("#job-state")).to_have_text(
        re.compile(r"^Writing the artifact: \d+ B of 80 B"), timeout=LONG_MS
    )
    seen = set()
    for _ in range(10):
        seen.add(page.locator("#job-progress").get_attribute("value"))
        time.sleep(0.2)
    assert len(seen) > 2
    wait_for_inspection(page)


def test_a_running_job_is_cancelled(service: Running, visits: Visits) -> None:
    """Cancelling ends the job on the service, and the page says so."""
    visits.expected.append(CUT)
    page = visits.open(service.url)
    drop(page, ("hangs.pt", b"hangs"))
    expect(page.locator("#job-state")).to_contain_text("Reading", timeout=LONG_MS)
    job_id = page.url.partition("#job=")[2]
    page.locator("#job-actions").get_by_role("button", name="Cancel").click()
    expect(page.locator("#job-state")).to_contain_text("Cancelled")
    expect(page.locator("#jobs li", has_text="hangs.pt")).to_contain_text("cancelled")
    with service.client() as client:
        assert client.get(f"/jobs/{job_id}").json()["state"] == "cancelled"


def test_a_job_is_removed_after_a_question(service: Running, visits: Visits) -> None:
    """Removing asks first; then the job is gone from the list and from the service."""
    page = visits.open(service.url)
    inspected(page, "removed.pt", b"fine to remove")
    job_id = page.url.partition("#job=")[2]
    row = page.locator("#jobs li", has_text="removed.pt")
    page.once("dialog", lambda dialog: dialog.dismiss())
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    expect(page.locator("#job-section")).to_be_hidden()
    with service.client() as client:
        assert client.get(f"/jobs/{job_id}").status_code == 410


def test_a_job_that_is_gone_is_told(service: Running, visits: Visits) -> None:
    """An address that names a job that is not there says so."""
    visits.expected.append("status of 404")
    page = visits.open(f"{service.url}/#job={'0' * 64}")
    expect(page.locator("#job-problem")).to_contain_text("There is no such job.")


def test_a_reload_goes_on(service: Running, visits: Visits) -> None:
    """After a reload the page follows the same job to its end."""
    visits.expected.append(CUT)
    page = visits.open(service.url)
    drop(page, ("reloaded.pt", b"counts 5 reloaded"))
    expect(page.locator("#job-state")).to_contain_text("Writing", timeout=LONG_MS)
    page.reload()
    expect(page.locator("#job-title")).to_have_text("Inspection of reloaded.pt")
    expect(page.locator("#job-state")).to_contain_text("Writing")
    wait_for_inspection(page)


def test_the_page_goes_on_when_the_service_is_back(visits: Visits, tmp_path: Path) -> None:
    """A service that was killed in the middle ends the job after its restart; the page sees it."""
    visits.expected += [CUT, "status of 50"]
    first = start(tmp_path)
    try:
        first.wait_until_ready()
        page = visits.open(first.url)
        drop(page, ("survives.pt", b"counts 8"))
        expect(page.locator("#job-state")).to_contain_text("Writing", timeout=LONG_MS)
        first.process.kill()
        first.process.wait()
        expect(page.locator("#job-trouble")).to_contain_text("does not answer", timeout=LONG_MS)
        second = start(tmp_path, port=first.port)
        try:
            wait_for_inspection(page)
            expect(page.locator("#job-trouble")).to_have_text("")
        finally:
            second.process.kill()
            second.process.wait()
    finally:
        first.process.kill()
        first.process.wait()


def test_events_that_never_come_are_replaced_by_polls(service: Running, visits: Visits) -> None:
    """Behind a gateway that holds events back the page polls, and reaches the end."""
    visits.expected.append("status of 504")
    page = visits.open(service.url)
    page.route("**/events", lambda route: route.fulfill(status=504, body="Gateway Timeout"))
    drop(page, ("polled.pt", b"counts 3 polled"))
    wait_for_inspection(page)


def test_a_key_is_asked_for_kept_for_the_tab_and_forgotten(
    guarded: Running, visits: Visits
) -> None:
    """Without the key nothing is shown; with it a reload goes on, until it is forgotten."""
    visits.expected += ["status of 401", CUT]
    page = visits.open(guarded.url)
    field = page.get_by_label("Key", exact=True)
    expect(field).to_be_focused()
    field.fill("wrong-key")
    field.press("Enter")
    expect(page.locator("#key-problem")).to_contain_text("not known")
    field.fill(KEY)
    field.press("Enter")
    expect(page.locator("#key-section")).to_be_hidden()
    inspected(page, "keyed.pt", b"fine with a key")
    page.reload()
    expect(page.locator("#job-title")).to_have_text("Inspection of keyed.pt")
    assert page.evaluate("() => localStorage.length") == 0
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_label("Key", exact=True)).to_be_visible()
    expect(page.locator("#jobs li")).to_have_count(0)
    assert page.evaluate("() => sessionStorage.length") == 0


def test_files_are_downloaded_with_the_key(guarded: Running, visits: Visits) -> None:
    """A file that needs the key is fetched with it, and saved under its name."""
    visits.expected += ["status of 401", CUT]
    page = visits.open(guarded.url)
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Use the key").click()
    content = b"fine to fetch with a key"
    inspected(page, "fetched.pt", content)
    convert(page)
    wait_for_conversion(page)
    with page.expect_download() as started:
        page.get_by_role("link", name="Artifact").click()
    assert started.value.suggested_filename == "fetched.channels_last_3d.pt"
    digest = hashlib.sha256(started.value.path().read_bytes()).digest()
    assert digest == hashlib.sha256(content).digest()  # the fake task copies


def test_an_upload_without_the_key_goes_on_with_it(guarded: Running, visits: Visits) -> None:
    """A file that was dropped before the key was given is sent as soon as it is."""
    visits.expected += ["status of 401", CUT]
    page = visits.open(guarded.url)
    drop(page, ("early.pt", b"fine and early"))
    expect(page.locator("#uploads h3")).to_have_text("A key is needed")
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Use the key").click()
    wait_for_inspection(page)
