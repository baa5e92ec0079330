from __future__ import annotations

import httpx

from convlast.report import Report
from tests.service.running import Running


def inspect(service: Running, accept: str = "*/*", query: str = "") -> httpx.Response:
    """Send a checkpoint to `/inspect`."""
    with service.client() as client:
        files = {"checkpoint": ("m.pt", b"content")}
        return client.post(f"/inspect{query}", files=files, headers={"Accept": accept})


def test_inspect_gives_a_report_and_keeps_nothing(service: Running) -> None:
    """The answer is the report as JSON, without an artifact."""
    before = service.settled_files()
    response = inspect(service)
    report = Report.model_validate_json(response.content)
    assert report.artifact is None
    assert "queue;dur=" in response.headers["server-timing"]
    assert service.settled_files() == before


def test_inspect_gives_a_page(service: Running) -> None:
    """A browser gets the report as a page."""
    response = inspect(service, accept="text/html")
    assert response.headers["content-type"].startswith("text/html")
    assert "<title>" in response.text


def test_inspect_takes_what_says_which_layers(service: Running) -> None:
    """The options that choose layers are accepted, and all others refused."""
    assert inspect(service, query="?select=encoder.*").status_code == 200
    assert inspect(service, query="?smoke=none").json()["code"] == "invalid-option"
    assert inspect(service, accept="application/zip").json()["code"] == "not-acceptable"
