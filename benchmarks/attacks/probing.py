"""A probe as an orchestrator sends it: over a connection of its own, and with little patience."""

from __future__ import annotations

import socket
import time

INTERVAL_S = 1 / 30
PATIENCE_S = 5.0
_REQUEST = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def latencies(port: int, seconds: float) -> list[float | None]:
    """Ask again and again; return the seconds that each answer took, or none where none came."""
    until_s = time.monotonic() + seconds
    found = []
    while time.monotonic() < until_s:
        found.append(_ask(port))
        time.sleep(INTERVAL_S)
    return found


def _ask(port: int) -> float | None:
    began_s = time.perf_counter()
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(_REQUEST)
            while chunk := connection.recv(1 << 12):
                answer += chunk
    except OSError:
        return None
    return time.perf_counter() - began_s if answer.startswith(b"HTTP/1.1 200") else None
