"""The page at `/` for everybody: by keyboard, narrow, dark, with hostile names, without script."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.axe import violations
from tests.browser.conftest import Visits
from tests.browser.dropping import LONG_MS, convert, drop, wait_for_conversion, wait_for_inspection
from tests.service.running import Running, served, start

pytestmark = pytest.mark.browser

CUT = "ERR_|failed: "
HOSTILE = {
    "markup": '<img src=x onerror="document.title=1">\'"&amp;<script>alert(1)<\\/script>.pt',
    "right-to-left": "\u202egpj.exe\u2066 שלום.pt",
    "long": f"{'very-long-name ' * 700}.pt",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service whose workers do what the first word of a file says."""
    with served(tmp_path_factory.mktemp("service"), workers=2) as running:
        yield running


def overflow(page: Page) -> int:
    """Return how many pixels of the page lie beyond the right edge."""
    found: int = page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return found


def received(listener: socket.socket) -> bytes:
    """Return what was sent to a listener: a browser may connect to a host that it may not ask."""
    listener.setblocking(False)
    found = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(BlockingIOError):
                connection.setblocking(False)
                found += connection.recv(1000)
    return found


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(service: Running, visits: Visits, dark: bool, narrow: bool) -> None:
    """In each state, light and dark, wide and narrow, no rule of axe is broken."""
    visits.expected.append(CUT)
    page = visits.open(service.url, dark=dark, narrow=narrow)
    expect(page.locator("#app")).to_be_visible()
    assert violations(page) == []
    drop(page, ("good.pt", b"fine"))
    wait_for_inspection(page)
    page.get_by_text("More options").click()
    assert violations(page) == []
    convert(page)
    wait_for_conversion(page)
    assert violations(page) == []
    drop(page, ("bad.pt", b"refuses"))
    expect(page.locator("#job-problem")).to_be_visible(timeout=LONG_MS)
    assert violations(page) == []
    drop(page, ("long.pt", b"counts 100 " + (b"dark" if dark else b"light") * (1 + narrow)))
    expect(page.locator("#job-state")).to_contain_text("Writing", timeout=LONG_MS)
    assert violations(page) == []
    assert overflow(page) <= 0
    page.locator("#job-actions").get_by_role("button", name="Cancel").click()
    expect(page.locator("#job-state")).to_contain_text("Cancelled")


def test_axe_finds_nothing_where_a_key_is_asked_for(
    visits: Visits, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The form for the key is as accessible as the rest."""
    visits.expected.append("status of 401")
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text("alice:s3cret-key\n")
    guarded = start(folder, api_keys_file=folder / "keys")
    try:
        guarded.wait_until_ready()
        page = visits.open(guarded.url)
        expect(page.locator("#key-section")).to_be_visible()
        assert violations(page) == []
    finally:
        guarded.process.kill()
        guarded.process.wait()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_text(service: Running, visits: Visits, name: str) -> None:
    """A name with markup, marks of direction or 10 kB is shown as text, and fits in the page."""
    page = visits.open(service.url, narrow=True)
    drop(page, (name, b"fine"))
    wait_for_inspection(page)
    page.get_by_text("More options").click()
    page.get_by_label("Architecture", exact=True).fill(HOSTILE["markup"])
    convert(page)
    wait_for_conversion(page)
    assert page.locator("#app img, #app script").count() == 0
    assert overflow(page) <= 0
    title = page.locator("#job-title")
    box = title.bounding_box()
    assert box
    assert box["height"] < 200
    expect(title.locator("bdi")).to_have_css("unicode-bidi", "isolate")
    assert violations(page) == []


def test_a_hostile_reason_is_text(service: Running, visits: Visits) -> None:
    """Markup in a refusal, as a taken-over worker could write it, is shown as text."""
    visits.expected.append("status of 422")
    page = visits.open(service.url)
    said = HOSTILE["markup"].replace('"', '\\"').replace("<\\/", "<\\\\/")
    body = f'{{"code": "not-a-checkpoint", "status": 422, "title": "{said}", "detail": "{said}"}}'
    page.route("**/inspect*", lambda route: route.fulfill(status=422, body=body))
    drop(page, ("m.pt", b"fine"))
    expect(page.locator("#uploads p", has_text="<img src=x")).to_be_visible()
    assert page.locator("#app img, #app script").count() == 0


def test_the_whole_way_by_keyboard(service: Running, visits: Visits) -> None:
    """Without a mouse a file is chosen, converted, and its job found in the list and removed."""
    page = visits.open(service.url)
    expect(page.locator("#app")).to_be_visible()

    def tab_to(name: str, role: str = "button") -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.get_by_role(role, name=name).and_(page.locator(":focus")).count():  # type: ignore[arg-type]  # a role
                return
        raise AssertionError(f"{name} cannot be reached")

    file: FilePayload = {"name": "keys.pt", "mimeType": "", "buffer": b"fine by keyboard"}
    page.on("filechooser", lambda chooser: chooser.set_files([file]))
    tab_to("Choose files")
    page.keyboard.press("Enter")
    wait_for_inspection(page)
    tab_to("Convert")
    page.keyboard.press("Enter")
    wait_for_conversion(page)
    # What was made has the focus, so that a reader begins there.
    expect(page.locator("#job-title")).to_be_focused()
    tab_to("Artifact", "link")
    tab_to("Inspection of keys.pt", "link")
    page.keyboard.press("Enter")
    expect(page.locator("#job-title")).to_have_text("Inspection of keys.pt")
    expect(page.locator("#job-title")).to_be_focused()
    page.once("dialog", lambda dialog: dialog.accept())
    tab_to("Remove")
    page.keyboard.press("Space")
    expect(page.get_by_role("link", name="Inspection of keys.pt")).to_have_count(0)


def test_a_reader_hears_each_stage_once(service: Running, visits: Visits) -> None:
    """The status for screen readers changes with the stage, not with each byte."""
    page = visits.open(service.url)
    page.evaluate(
        """() => {
          window.heard = [];
          new MutationObserver(() => heard.push(document.getElementById("news").textContent))
            .observe(document.getElementById("news"), {childList: true, subtree: true});
        }"""
    )
    drop(page, ("heard.pt", b"counts 3 heard"))
    wait_for_inspection(page)
    heard = page.evaluate("() => window.heard")
    assert heard.count("Inspection: Writing the artifact") == 1
    assert heard[-1] == "Inspection: done"
    assert page.locator("#news").get_attribute("role") == "status"


def test_the_job_that_is_shown_is_in_the_address(service: Running, visits: Visits) -> None:
    """Back and forward lead from one job to the other."""
    visits.expected.append(CUT)
    page = visits.open(service.url)
    for name in ("first.pt", "second.pt"):
        drop(page, (name, f"fine {name}".encode()))
        expect(page.locator("#job-title")).to_have_text(f"Inspection of {name}", timeout=LONG_MS)
        wait_for_inspection(page)
    page.go_back()
    expect(page.locator("#job-title")).to_have_text("Inspection of first.pt")
    page.go_back()
    expect(page.locator("#job-section")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#job-title")).to_have_text("Inspection of first.pt")


def test_older_jobs_are_listed_on_demand(visits: Visits, tmp_path: Path) -> None:
    """The newest twenty jobs are listed; a button brings the older ones, and they stay."""
    service = start(tmp_path)
    try:
        service.wait_until_ready()
        with service.client() as client:
            for number in range(25):
                files = {"checkpoint": (f"job-{number:02}.pt", f"fine {number}".encode())}
                prefer = {"Prefer": "wait=30"}
                assert client.post("/convert", files=files, headers=prefer).is_success
        page = visits.open(service.url)
        rows = page.locator("#jobs li")
        expect(rows).to_have_count(20)
        expect(rows.first).to_contain_text("job-24.pt")
        page.get_by_role("button", name="Older jobs").click()
        expect(rows).to_have_count(25)
        expect(rows.last).to_contain_text("job-00.pt")
        expect(page.get_by_role("button", name="Older jobs")).to_be_hidden()
        page.wait_for_timeout(500)
        page.evaluate("() => window.dispatchEvent(new Event('focus'))")
        expect(rows).to_have_count(25)
    finally:
        service.process.kill()
        service.process.wait()


def test_two_conversions_are_compared(service: Running, visits: Visits) -> None:
    """Two jobs that are chosen in the list are compared, the older one first; a reload goes on."""
    visits.expected.append(CUT)
    page = visits.open(service.url)
    ids = []
    for name in ("before.pt", "after.pt"):
        drop(page, (name, f"fine {name}".encode()))
        expect(page.locator("#job-title")).to_have_text(f"Inspection of {name}", timeout=LONG_MS)
        wait_for_inspection(page)
        convert(page)
        wait_for_conversion(page)
        ids.append(page.url.partition("#job=")[2])
    compare = page.get_by_role("button", name="Compare", exact=True)
    expect(compare).to_be_disabled()
    page.get_by_label("Compare the conversion of after.pt").check()
    page.get_by_label("Compare the conversion of before.pt").check()
    compare.click()
    expect(page.locator("#comparison-title")).to_be_focused()
    changed = page.frame_locator("#comparison iframe")
    expect(changed.locator("h1")).to_be_visible()
    expect(changed.get_by_text("before.pt").first).to_be_visible()
    assert page.url.endswith(f"#compare={ids[0]},{ids[1]}")
    assert violations(page) == []
    page.reload()
    expect(changed.get_by_text("after.pt").first).to_be_visible()


def test_the_page_says_what_needs_script(service: Running, visits: Visits) -> None:
    """Without script the page explains itself, offers the lines for curl, and leads to `/docs`."""
    page = visits.open(service.url, script=False)
    expect(page.get_by_role("heading", name="This page needs JavaScript")).to_be_visible()
    lines = page.locator("noscript pre")
    expect(lines).to_be_visible()
    expect(lines).to_contain_text("ADDRESS/convert")
    expect(page.locator("#app")).to_be_hidden()
    page.get_by_role("link", name="its documentation").click()
    assert page.url == f"{service.url}/docs"


def test_a_report_in_its_frame_reaches_nothing(service: Running, visits: Visits) -> None:
    """A page that a taken-over worker wrote runs no script of its own, and asks nobody."""
    visits.expected += ["Content Security Policy", "Content-Security-Policy", "failed: .*/pixel"]
    page = visits.open(service.url)
    with socket.create_server(("127.0.0.1", 0)) as asked:
        hostile = (
            "<!doctype html><h1>shown</h1><style>h1 {color: red}</style>"
            "<script>parent.stolen = document.title = 'stolen'</script>"
            f"<img src='http://127.0.0.1:{asked.getsockname()[1]}/pixel'>"
            f"<iframe src='http://127.0.0.1:{asked.getsockname()[1]}/pixel'></iframe>"
        )
        page.route(
            "**/report.html", lambda route: route.fulfill(body=hostile, content_type="text/html")
        )
        drop(page, ("hostile-report.pt", b"fine hostile"))
        heading = page.frame_locator("#job-report iframe").locator("h1")
        expect(heading).to_have_text("shown", timeout=LONG_MS)
        expect(heading).not_to_have_css("color", "rgb(255, 0, 0)")
        page.wait_for_timeout(300)
        assert received(asked) == b""
    assert page.evaluate("() => window.stolen") is None
    assert page.locator("#job-report iframe").get_attribute("sandbox") == "allow-scripts"
