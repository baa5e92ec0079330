"""A server of files with TLS on loopback, which can be slow, or send its clients elsewhere."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.proxies.reverse_proxy import Certificate

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_PATIENCE_S = 60


class WebStore:
    """The server.

    Attributes:
        files: What it has, by path.
        moved: Where it sends those that ask for a path.
        asked: The paths that it was asked for, with their queries.
        is_slow: Set while it sends only half of a range.
        halves: Counts the halves that were sent.
        certificate: What it shows.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, bytes]
        self.moved: dict[str, str]
        self.asked: list[str]
        self.begin_anew({})
        self._connections: set[socket.socket] = set()
        self.certificate = Certificate.make(folder)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate.file, self.certificate.key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._server.daemon_threads = False

    def begin_anew(self, files: dict[str, bytes]) -> None:
        """Have these files, and nothing of earlier tests."""
        self.files, self.moved, self.asked = files, {}, []
        self.is_slow, self.halves = False, threading.Semaphore(0)
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://localhost:{self._server.server_address[1]}"

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a service that may fetch from it."""
        return {"sources": f"{self.url}/", "private_networks": "127.0.0.0/8,::1/128"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = _PATIENCE_S

            def setup(self) -> None:
                """Note the connection, which the client may keep open for long."""
                store._connections.add(self.request)
                super().setup()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                """Send a range of a file, or elsewhere."""
                store.asked.append(self.path)
                path = self.path.partition("?")[0]
                content, moved = store.files.get(path), store.moved.get(path)
                asked = _RANGE.fullmatch(self.headers.get("Range", ""))
                if content is None or asked is None:
                    self.send_response(404 if moved is None else 302)
                    self.send_header("Location", moved or "/")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self._send(content, int(asked[1]), int(asked[2]) + 1)

            def _send(self, content: bytes, start: int, stop: int) -> None:
                part = content[start:stop]
                self.send_response(206 if part else 416)
                which = f"{start}-{start + len(part) - 1}" if part else "*"
                self.send_header("Content-Range", f"bytes {which}/{len(content)}")
                self.send_header("Content-Length", str(len(part)))
                self.send_header("ETag", f'"{md5(content).hexdigest()}"')  # noqa: S324  # a version
                self.end_headers()
                half = len(part) // 2 if store.is_slow and len(part) > 1 else 0
                self.wfile.write(part[:half])
                if half:
                    store.halves.release()
                    store.go_on.wait(_PATIENCE_S)
                self.wfile.write(part[half:])

        return Handler

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve meanwhile."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            self.go_on.set()
            self._server.shutdown()
            thread.join()
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._server.server_close()
