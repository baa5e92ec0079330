"""The proxy of the tests: what it passes on, and what it cuts."""

from __future__ import annotations

import httpx
import pytest

from tests.service.conftest import Impatient
from tests.service.running import Running

MIB = 1 << 20


def client_of(url: str) -> httpx.Client:
    """Open a client."""
    return httpx.Client(base_url=url, timeout=30, trust_env=False)


def test_bytes_are_passed_on_and_counted(service: Running, impatient: Impatient) -> None:
    """In both directions, also if the connection closes behind them."""
    proxy = impatient(service, idle_s=5)
    content = bytes(8 * MIB)
    headers = {"Accept": "application/octet-stream", "Connection": "close"}
    with client_of(proxy.url) as client:
        files = {"checkpoint": ("proxy.pt", content)}
        answer = client.post("/convert", files=files, headers=headers)
    assert answer.content == content
    assert 8 * MIB < proxy.uploaded_bytes < 9 * MIB
    assert 8 * MIB < proxy.downloaded_bytes < 9 * MIB
    assert proxy.cut == 0


def test_a_connection_without_a_byte_is_cut(service: Running, impatient: Impatient) -> None:
    """So a synchronous call that takes longer gets no answer."""
    proxy = impatient(service, idle_s=0.3)
    with client_of(proxy.url) as client, pytest.raises(httpx.TransportError):
        client.post("/convert", files={"checkpoint": ("m.pt", b"sleeps 2")})
    assert proxy.cut == 1
