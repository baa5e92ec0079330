"""Raw requests for tests, and a function that reads a raw response."""

from __future__ import annotations

import socket

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
UPLOAD = (
    b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    b"Accept: application/octet-stream\r\n"
)
"""The first lines of a request; a test adds its own fields and the empty line."""


def read_all(connection: socket.socket) -> bytes:
    """Read until the service closes or resets the connection."""
    received = bytearray()
    try:
        while chunk := connection.recv(1 << 16):
            received += chunk
    except ConnectionResetError:
        pass
    return bytes(received)
