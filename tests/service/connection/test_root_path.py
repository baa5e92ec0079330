"""Links behind a prefix, whether the proxy passes the prefix on or takes it off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from convlast.client import Client
from service.app import create_app
from service.settings import Settings, SettingsError
from tests.service.running import Running, served

PREFIX = "/tools/convlast"
RAW = {"Content-Type": "application/octet-stream"}
ASYNCHRONOUS = {"Prefer": "respond-async", **RAW}


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service that is told of a prefix."""
    with served(tmp_path_factory.mktemp("behind"), root_path=PREFIX) as running:
        yield running


@pytest.fixture(params=["", PREFIX], ids=["taken off", "passed on"])
def http(behind: Running, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Ask the service as a proxy does that takes the prefix off, or passes it on."""
    base = behind.url + request.param
    with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
        yield client


def test_a_job_and_its_files_are_below_the_prefix(behind: Running, http: httpx.Client) -> None:
    """Location, the links of the job and of the list, and their documents begin with it."""
    answer = http.post("/convert", content=b"fine", headers=ASYNCHRONOUS)
    assert answer.status_code == 202
    own = f"{PREFIX}/jobs/{answer.json()['id']}"
    assert answer.headers["Location"] == own
    job = answer.json()
    while job["state"] in ("queued", "running"):
        job = httpx.get(f"{behind.url}{own}?wait=30", trust_env=False).json()
    assert job["links"]["self"] == own
    for link in job["links"].values():
        assert link.startswith(own)
        assert httpx.get(behind.url + link, trust_env=False).status_code == 200
    listed = http.get("/jobs?limit=1").json()
    assert listed["jobs"][0]["links"]["self"].startswith(f"{PREFIX}/jobs/")


@pytest.mark.parametrize(
    ("accepted", "field"),
    [("application/json", "Content-Location"), ("application/octet-stream", "Link")],
)
def test_an_answer_names_its_files_below_the_prefix(
    http: httpx.Client, accepted: str, field: str
) -> None:
    """The fields of an answer that is kept have links with the prefix."""
    answer = http.post("/convert", content=b"fine", headers={"Accept": accepted, **RAW})
    assert f"{PREFIX}/jobs/" in answer.headers[field]


def test_the_next_page_of_jobs_is_below_the_prefix(behind: Running, http: httpx.Client) -> None:
    """The link to it can be followed as it is."""
    for name in ("one", "two"):
        http.post(f"/convert?filename={name}.pt", content=b"fine", headers=ASYNCHRONOUS)
    following = http.get("/jobs?limit=1").json()["next"]
    assert following.startswith(f"{PREFIX}/jobs?")
    assert httpx.get(behind.url + following, trust_env=False).json()["jobs"]


def test_the_page_leads_below_the_prefix(http: httpx.Client) -> None:
    """Its links and its script have the prefix, with and without a slash at the end."""
    for path in ("", "/"):
        answer = http.get(path)
        assert answer.status_code == 200
        assert f'href="{PREFIX}/docs"' in answer.text
        assert f'data-base="{PREFIX}/"' in answer.text


def test_the_documents_name_the_prefix(http: httpx.Client) -> None:
    """OpenAPI has it as the server, and the examples in `/docs` have it in the address."""
    assert http.get("/openapi.json").json()["servers"] == [{"url": PREFIX}]
    assert f"url=https://convlast.example.org{PREFIX}" in http.get("/docs").text


def test_a_path_with_a_slash_too_many_is_told_with_the_prefix(http: httpx.Client) -> None:
    """The path that was meant is the one that the client has to send."""
    detail = http.post("/convert/", content=b"fine").json()["detail"]
    assert f"Did you mean {PREFIX}/convert?" in detail


def test_another_prefix_is_not_taken_off(behind: Running) -> None:
    """A path that only begins with the same letters is unknown."""
    for path in (f"{PREFIX}er/livez", f"{PREFIX}{PREFIX}/livez", "/tools/livez"):
        assert httpx.get(behind.url + path, trust_env=False).status_code == 404


def test_probes_are_known_with_and_without_it(http: httpx.Client) -> None:
    """A supervisor asks the service itself, and a monitor asks through the proxy."""
    for probe in ("/livez", "/readyz", "/metrics"):
        assert http.get(probe).status_code == 200


def test_the_client_works_below_it(
    behind: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address with the prefix is the address of the service."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source = tmp_path / "model.pt"
    source.write_bytes(b"fine for the client")
    with Client(behind.url + PREFIX) as client:
        client.convert(source, tmp_path / "out.pt")
    assert (tmp_path / "out.pt").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("root_path", ["/a/../b", "/./a", "/..", "//a"])
def test_a_prefix_that_clients_would_change_is_refused(root_path: str, tmp_path: Path) -> None:
    """Clients resolve dots, and would then ask for something else."""
    with pytest.raises(SettingsError, match="each part needs a name"):
        create_app(Settings(work_dir=tmp_path, root_path=root_path))


@pytest.mark.parametrize("root_path", ["/jobs", "/jobs/more", "/docs", "/convert"])
def test_a_prefix_like_a_path_of_the_service_is_refused(root_path: str, tmp_path: Path) -> None:
    """A request could mean both."""
    with pytest.raises(SettingsError, match="is a path of the service itself"):
        create_app(Settings(work_dir=tmp_path, root_path=root_path))
