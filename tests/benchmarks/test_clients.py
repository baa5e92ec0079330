"""Clients of the benchmarks, with a small HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from benchmarks import clients
from benchmarks.clients import ask, form


class Answering(BaseHTTPRequestHandler):
    """Answers each form with the status that it asks for, and a form without one with nothing."""

    protocol_version = "HTTP/1.1"
    names: ClassVar[list[bytes]] = []
    """The file names of all forms."""

    def do_POST(self) -> None:
        """Answer a form."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.names.append(body.partition(b'filename="')[2].partition(b'"')[0])
        status = body.partition(b"status-")[2][:3]
        if status:
            self.send_response(int(status))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server that answers as it is told."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_client_sends_once_at_least(url: str) -> None:
    """Even if there is no time; so no number of clients is left without a rate."""
    found = ask(url, form(b"status-200", {}), clients=3, seconds=0)
    assert found["codes"] == {"200": 3}
    assert found["answers_per_s"] > 0
    assert found["median_s"] > 0


def test_clients_send_again_until_the_time_is_up(url: str) -> None:
    """Over the same connection."""
    assert ask(url, form(b"status-200", {}), clients=1, seconds=1)["codes"]["200"] > 1


def test_no_two_requests_are_the_same(url: str) -> None:
    """Else they would share one job, and the service would have less to do."""
    Answering.names.clear()
    ask(url, form(b"status-200", {}), clients=3, seconds=1)
    assert len(Answering.names) > 3
    assert len(set(Answering.names)) == len(Answering.names)


def test_refusals_and_broken_connections_are_counted_apart(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no part in the rate and the times, and no client ends with them."""
    monkeypatch.setattr(clients, "PAUSE_S", 0.01)
    refused = ask(url, form(b"status-503", {}), clients=1, seconds=1)
    assert refused["codes"]["503"] > 1
    assert (refused["answers_per_s"], refused["median_s"]) == (0, None)
    broken = ask(url, form(b"nothing", {}), clients=1, seconds=1)
    assert broken["codes"]["RemoteDisconnected"] > 1
    assert set(broken["codes"]) == {"RemoteDisconnected"}


def test_a_form_has_the_checkpoint_and_the_fields() -> None:
    """Each part between boundaries."""
    body = b"".join(form(b"bytes", {"smoke": "none"}).named(7))
    assert body.count(clients.BOUNDARY.encode()) == 3
    assert b'name="checkpoint"; filename="m7.pt"\r\n\r\nbytes\r\n--' in body
    assert b'name="smoke"\r\n\r\nnone\r\n--' in body
