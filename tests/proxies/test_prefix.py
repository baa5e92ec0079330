"""A service below a prefix, behind nginx and Caddy that pass the prefix on or take it off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from convlast.cli import app
from tests.proxies.conftest import client_of, work_of
from tests.proxies.reverse_proxy import KINDS, PREFIX, Below, Certificate, Proxy, proxied
from tests.service.running import Running

pytestmark = pytest.mark.proxies

CASES = [(kind, below) for kind in KINDS for below in ("passed on", "taken off")]


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def prefixed(
    below: Running,
    certificate: Certificate,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """Put a proxy before the service that is told of the prefix."""
    kind, how = request.param
    folder = tmp_path_factory.mktemp("prefixed") / "proxy"
    with proxied(kind, folder, below.port, certificate, _as(how)) as proxy:
        yield proxy


def _as(how: str) -> Below:
    return "passed on" if how == "passed on" else "taken off"


@pytest.fixture
def http(prefixed: Proxy) -> Iterator[httpx.Client]:
    """Open a client whose paths begin at the host, as links do."""
    with client_of(prefixed) as client:
        client.base_url = httpx.URL(prefixed.origin)
        yield client


def test_every_link_of_a_job_can_be_followed(http: httpx.Client) -> None:
    """Location, and the links to the status, the events and the files."""
    answer = http.post(
        f"{PREFIX}/convert",
        content=b"fine",
        headers={"Prefer": "respond-async", "Content-Type": "application/octet-stream"},
    )
    job = answer.json()
    while job["state"] in ("queued", "running"):
        job = http.get(answer.headers["Location"], params={"wait": 30}).json()
    assert {"self", "events", "artifact", "report", "html", "archive"} <= job["links"].keys()
    for link in job["links"].values():
        assert http.get(link).status_code == 200, link


def test_the_page_and_its_links_are_found(http: httpx.Client) -> None:
    """With and without a slash at the end of the address."""
    for path in (PREFIX, f"{PREFIX}/"):
        page = http.get(path, follow_redirects=True)
        assert f'href="{PREFIX}/docs"' in page.text
    assert http.get(f"{PREFIX}/docs").status_code == 200
    assert http.get(f"{PREFIX}/openapi.json").json()["servers"] == [{"url": PREFIX}]


def test_the_page_may_send(http: httpx.Client, prefixed: Proxy) -> None:
    """The proxy passes the host on with its port, so a page of the service has its origin."""
    fields = {"Origin": prefixed.origin, "Content-Type": "application/octet-stream"}
    assert http.post(f"{PREFIX}/inspect", content=b"fine", headers=fields).status_code == 200


def test_the_rest_of_the_host_is_not_the_service(http: httpx.Client) -> None:
    """Other paths may belong to others."""
    assert "status" not in http.get("/livez").text


def test_the_command_line_converts(
    prefixed: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--server` takes the address with the prefix."""
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(prefixed.certificate.file))
    source, artifact = work_of(tmp_path), tmp_path / "out.pt"
    words = ["convert", str(source), "--server", prefixed.url, "-o", str(artifact)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert artifact.read_bytes() == source.read_bytes()
