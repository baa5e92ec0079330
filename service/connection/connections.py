"""uvicorn's connection, with bounds on time and memory before the application has a request.

uvicorn's own waits for the head of a request without limit and keeps all of it, treats the fields
that follow a body (trailers) as headers, and loses the body of a request that offers another
protocol. Refusals made here are problems too.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from email.utils import formatdate
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.access.keyfile import ANONYMOUS
from service.access.keyring import share_of
from service.connection.http_parser import HttpParser
from service.connection.limit import PROBES, ConnectionLimit
from service.connection.protection import FIELDS
from service.connection.root_path import bare
from service.connection.turns import HAS_LEFT
from service.problems import TABLE, Problem
from service.settings import Settings
from service.telemetry.metrics import Metrics

MAX_HEAD_BYTES = 64 << 10
"""Most bytes in the head of a request, or between two pieces of its body."""

MAX_PIPELINED = 4
"""Requests that a client may send ahead while its first one is being answered."""

LOOK_INTERVAL_S = 1.0
"""How often to check whether a client that has closed its sending side is still there."""


class BoundedConnection(HttpToolsProtocol):
    """One connection, with bounds on time and memory until the application has its request."""

    parser: HttpParser

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = HttpParser(self)
        self._settings: Settings = app_state["settings"]
        self._limit: ConnectionLimit = app_state["connection_limit"]
        self._metrics: Metrics = app_state["metrics"]
        self._head_bytes = 0  # all bytes that came since the last byte of a body
        self._refusal: Problem | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._reads_head = True
        self.client_share = ""
        self.since_s = time.monotonic()
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._has_left = asyncio.Event()

    # The signature is uvicorn's own, narrower than asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the idle timer, and count the connection."""
        super().connection_made(transport)
        self.client_share = share_of(ANONYMOUS, self.client[0] if self.client else None)
        self._start_idle_timer()
        self._limit.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and tell every unanswered request that its client has disconnected."""
        self._stop_idle_timer()
        self._limit.forget(self)
        self._has_left.set()
        super().connection_lost(exc)
        for cycle in self._unanswered:
            # uvicorn tells only the last of several pipelined requests.
            cycle.disconnected = True
            cycle.message_event.set()
            # A request that never began and this connection would keep each other in memory until
            # the next garbage collection.
            cycle.on_response = _ignored
        self._unanswered.clear()
        self.pipeline.clear()

    # uvicorn's own returns nothing, which closes the connection.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that sends no more but is owed an answer."""
        is_owed = self.is_answering and not self.cycle.more_body
        if is_owed and self.cycle.scope["http_version"] != "1.0":
            self.cycle.keep_alive = False
            self._look_for_client()
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Parse bytes, and refuse the request if too many of them are not of a body."""
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            text = f"The head of the request has more than {MAX_HEAD_BYTES:,} bytes."
            self._refuse(Problem("malformed-request", text))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; ignore one that follows the body (RFC 9110, section 6.5)."""
        if self._reads_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass the request to the application, which has bounds of its own.

        Raises:
            ValueError: If the request does not name one host (RFC 9112, section 3.2), if too many
                are pipelined, or if all connections are taken and it is no probe.
        """
        if self.parser.offers_upgrade:
            return
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            text = f"The request has {hosts} Host fields, and must have one."
            raise self._refused(Problem("malformed-request", text))
        if self._limit.is_spare(self) and not self._is_probe:
            text = f"All {self._settings.max_connections} connections are taken, or those of this "
            raise self._refused(Problem("queue-full", text + "address. Try later."))
        if len(self._unanswered) > MAX_PIPELINED:
            text = f"More than {MAX_PIPELINED} requests are pipelined. Wait for the answers."
            raise self._refused(Problem("too-many-requests", text))
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        self.scope["state"][HAS_LEFT] = self._has_left.is_set
        self.cycle.keep_alive &= not self._limit.is_spare(self)
        self._head_bytes, self._reads_head = 0, False
        self._stop_idle_timer()

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        super().on_body(body)
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        """Prepare for the head of a pipelined request."""
        if self.parser.offers_upgrade:
            return
        super().on_message_complete()
        self._head_bytes, self._reads_head = 0, True

    def on_response_complete(self) -> None:
        """Start the idle timer, unless the next request is already here."""
        self._unanswered.popleft()
        super().on_response_complete()
        self.since_s = time.monotonic()
        if not self.is_answering and not self.transport.is_closing():
            self._start_idle_timer()

    @property
    def _is_probe(self) -> bool:
        """Whether the request whose head has arrived is a probe."""
        path: str = httptools.parse_url(self.url).path.decode()
        return bare(path, self._settings.root_path) in PROBES

    @property
    def is_answering(self) -> bool:
        """Whether the application has an unanswered request of this connection."""
        return bool(self._unanswered)

    @property
    def is_idle(self) -> bool:
        """Whether it has no unanswered request."""
        return not self.is_answering

    @property
    def has_its_answer(self) -> bool:
        """Whether its answer is sent completely although its request has not arrived completely."""
        if len(self._unanswered) != 1:
            return False
        cycle = self.cycle
        return (
            cycle.response_started
            and cycle.more_body
            and not cycle.chunked_encoding
            and not cycle.expected_content_length
            and not self.transport.get_write_buffer_size()
        )

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that the parser has rejected."""
        self._refuse(self._refusal or Problem("malformed-request", msg))

    def _refused(self, problem: Problem) -> ValueError:
        """Return the error that stops the parser, which then asks for the refusal."""
        self._refusal = problem
        return ValueError(problem.detail)

    def _look_for_client(self) -> None:
        """Send an interim response: a client that is gone resets the connection.

        A client that has only closed its sending side ignores it (RFC 9110, section 15.2).
        """
        if self.transport.is_closing() or not self.is_answering:
            return
        if not self.cycle.response_started and len(self._unanswered) == 1:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.loop.call_later(LOOK_INTERVAL_S, self._look_for_client)

    def _start_idle_timer(self) -> None:
        self._stop_idle_timer()
        self._idle_timer = self.loop.call_later(self._settings.client_idle_s, self._on_idle)

    def _stop_idle_timer(self) -> None:
        self.since_s = time.monotonic()
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def _on_idle(self) -> None:
        if self._head_bytes:
            text = f"The head of the request took longer than {self._settings.client_idle_s:g} s."
            self._refuse(Problem("upload-too-slow", text))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer here, unless the answer could be taken for another request's, and close."""
        self._metrics.refused(problem.code, TABLE[problem.code].status)
        if self._reads_a_body:
            # The body is broken: to the application, the client has disconnected.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.write(_response(problem))
        elif not self.is_answering:
            self.transport.write(_response(problem))
        self.transport.close()

    @property
    def _reads_a_body(self) -> bool:
        """Whether the only unanswered request has not arrived completely."""
        return (
            self.is_answering
            and self.cycle.more_body
            and not self.cycle.response_started
            and len(self._unanswered) == 1
        )


def _ignored() -> None:
    """Ignore the end of an answer whose connection is gone."""


def _response(problem: Problem) -> bytes:
    """Write a whole response."""
    response = problem.response()
    fields = {**FIELDS, "Connection": "close", "Date": formatdate(usegmt=True), **response.headers}
    head = "".join(f"{name.lower()}: {value}\r\n" for name, value in fields.items())
    first = f"HTTP/1.1 {response.status_code} {TABLE[problem.code].title}"
    return f"{first}\r\n{head}\r\n".encode() + bytes(response.body)
