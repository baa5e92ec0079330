"""The parser ignores offers of another protocol."""

from __future__ import annotations

import socket
import time

import pytest

from tests.service.connection.raw_http import GET, UPLOAD, read_all
from tests.service.running import Running

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize("first_bytes", [0, 40, len(UPLOAD), 100_000])
def test_an_offer_of_another_protocol_is_passed_over(service: Running, first_bytes: int) -> None:
    """A request with an offer and the request after it are answered, however they are split."""
    content = b"fine" * 50_000
    upload = UPLOAD + OFFER + b"Content-Length: %d\r\n\r\n" % len(content) + content
    last = GET + OFFER.replace(b"Upgrade,", b"Upgrade, close,") + b"\r\n"
    with service.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(upload[:first_bytes])
        time.sleep(0.1)
        connection.sendall(upload[first_bytes:] + last)
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert content in answer


def test_a_body_of_an_offer_is_no_request(service: Running) -> None:
    """The body of a request with an offer is not read as a request, which no proxy has seen."""
    hidden = GET + b"X-Request-ID: hidden\r\n\r\n"
    with service.connect() as connection:
        connection.sendall(UPLOAD + OFFER + b"Content-Length: %d\r\n\r\n" % len(hidden))
        time.sleep(0.1)
        connection.sendall(hidden + GET + b"Connection: close\r\n\r\n")
        answer = read_all(connection)
    assert b"x-request-id: hidden" not in answer
    assert answer.count(b"HTTP/1.1 ") == 2


def test_a_tunnel_is_refused(service: Running) -> None:
    """CONNECT is answered with 400."""
    with service.connect() as connection:
        connection.sendall(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400")
