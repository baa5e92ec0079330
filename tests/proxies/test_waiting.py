"""Requests that wait, through nginx and Caddy: events arrive at once, and no long poll is cut."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.proxies.reverse_proxy import Proxy
from tests.service.running import Running

pytestmark = pytest.mark.proxies

RAW = {"Content-Type": "application/octet-stream"}


def begin(http: httpx.Client, content: str, **preferred: str) -> httpx.Response:
    """Ask for a job that goes on."""
    headers = {"Prefer": "respond-async", **RAW, **preferred}
    answer = http.post("/convert", content=content.encode(), headers=headers)
    assert answer.status_code == 202, answer.text
    return answer


def test_events_arrive_as_they_happen(http: httpx.Client, service: Running, proxy: Proxy) -> None:
    """While the job runs the client has got several; a proxy that collects them sends them late."""
    place = begin(http, f"counts 3 {proxy.kind}").headers["Location"]
    running = 0
    with http.stream("GET", f"{place}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if not line.startswith("data: "):
                continue
            job: dict[str, Any] = json.loads(line.removeprefix("data: "))
            if job["state"] == "running":
                # Asked of the service itself, which is not behind the proxy.
                now = httpx.get(service.url + place, trust_env=False).json()
                running += now["state"] == "running"
    assert running >= 3
    assert job["state"] == "succeeded"


def test_a_long_poll_is_answered_with_the_news(http: httpx.Client, proxy: Proxy) -> None:
    """It waits for the end of the job, and the proxy waits too."""
    place = begin(http, f"sleeps 4 {proxy.kind}").headers["Location"]
    known = http.get(place)
    while known.json()["state"] != "succeeded":
        assert known.status_code == 200
        known = http.get(place, params={"wait": 30})
    assert http.get(place, headers={"If-None-Match": known.headers["ETag"]}).status_code == 304


def test_a_preference_to_wait_passes(http: httpx.Client, proxy: Proxy) -> None:
    """`Prefer: wait` gives the job if it has not ended in that time, else the result."""
    answer = begin(http, f"sleeps 3 {proxy.kind} later", Prefer="wait=1")
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert http.get(answer.headers["Location"], params={"wait": 30}).status_code == 200
    content = f"fine {proxy.kind} soon".encode()
    soon = http.post("/convert", content=content, headers={"Prefer": "wait=30", **RAW})
    assert soon.status_code == 200


def test_a_silent_conversion_is_waited_for(http: httpx.Client, proxy: Proxy) -> None:
    """A request whose job takes longer than the service's idle timeout is not cut."""
    content = f"sleeps 5 {proxy.kind} at once".encode()
    assert http.post("/convert", content=content, headers=RAW).status_code == 200


def test_a_client_may_name_its_request(http: httpx.Client) -> None:
    """The id of a request passes in both directions."""
    named = http.get("/version", headers={"X-Request-ID": "mine-1"})
    assert named.headers["X-Request-ID"] == "mine-1"


def test_an_offer_of_a_websocket_changes_nothing(http: httpx.Client) -> None:
    """The service has none, so proxies need no `Upgrade`."""
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert http.get("/livez", headers=offer).status_code == 200
