"""What a connection may do before it has sent a request: uvicorn's own, with bounds.

uvicorn waits for the head of a request as long as it takes, and keeps all of it; it takes the
fields that follow a body (trailers) for fields of the head; and it loses the body of a request that
offers another protocol. Refusals made here are problems too.
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
from service.connection.turns import HAS_LEFT
from service.problems import TABLE, Problem
from service.settings import Settings

MAX_HEAD_BYTES = 64 << 10
"""Bytes of the head of a request, or of what stands between two pieces of its body."""

MAX_PIPELINED = 4
"""Requests that may follow at once, while the answer to the first is still made."""

LOOK_INTERVAL_S = 1.0
"""How often a client that sends no more is asked whether it is still there."""


class BoundedConnection(HttpToolsProtocol):
    """One connection, bounded in time and memory where no application watches over it."""

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
        self._head_bytes = 0
        self._fault: Problem | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._reads_head = True
        self.client_share = ""
        self.since_s = time.monotonic()
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._has_left = asyncio.Event()

    # The signature is uvicorn's own, narrower than asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.client_share = share_of(ANONYMOUS, self.client[0] if self.client else None)
        self._await_request()
        self._limit.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        self._limit.forget(self)
        self._has_left.set()
        super().connection_lost(exc)
        for cycle in self._unanswered:
            # uvicorn tells only the last of several that follow at once.
            cycle.disconnected = True
            cycle.message_event.set()
            # Those that never began would keep this connection, and it them, until a collection.
            cycle.on_response = _ignored
        self._unanswered.clear()
        self.pipeline.clear()

    # uvicorn's own answers nothing, which closes the connection.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that sends no more, if it has sent a whole request and is still there."""
        is_owed = self.is_answering and not self.cycle.more_body
        if is_owed and self.cycle.scope["http_version"] != "1.0":
            self.cycle.keep_alive = False
            self._look_for_client()
            return True
        return False

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see that those which are no body stay few."""
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            text = f"The head of the request has more than {MAX_HEAD_BYTES:,} bytes."
            self._refuse(Problem("malformed-request", text))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; one that follows the body is passed over (RFC 9110, 6.5)."""
        if self._reads_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Leave the request to the application, which has bounds of its own.

        Raises:
            ValueError: If it does not name one host (RFC 9112, section 3.2), is one of too many
                that follow at once, or has come when all connections are taken, and is no probe.
        """
        if self.parser.offers_upgrade:
            return
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            text = f"The request has {hosts} Host fields, where there has to be one."
            raise self._refused(Problem("malformed-request", text))
        if self._limit.is_spare(self) and httptools.parse_url(self.url).path.decode() not in PROBES:
            text = f"All {self._settings.max_connections} connections are taken, or those of this "
            raise self._refused(Problem("queue-full", text + "address. Try later."))
        if len(self._unanswered) > MAX_PIPELINED:
            text = f"More than {MAX_PIPELINED} requests follow at once. Wait for the answers."
            raise self._refused(Problem("too-many-requests", text))
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        self.scope["state"][HAS_LEFT] = self._has_left.is_set
        self.cycle.keep_alive &= not self._limit.is_spare(self)
        self._head_bytes, self._reads_head = 0, False
        self._stop_waiting()

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        super().on_body(body)
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        """Be ready for the fields of a request that follows at once."""
        if self.parser.offers_upgrade:
            return
        super().on_message_complete()
        self._head_bytes, self._reads_head = 0, True

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, unless it is here already."""
        self._unanswered.popleft()
        super().on_response_complete()
        self.since_s = time.monotonic()
        if not self.is_answering and not self.transport.is_closing():
            self._await_request()

    @property
    def is_answering(self) -> bool:
        """Whether the application has a request of this connection."""
        return bool(self._unanswered)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return not self.is_answering

    @property
    def has_its_answer(self) -> bool:
        """Whether the last byte of an answer is sent, though the request has not come whole."""
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
        """Close it at once."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(self._fault or Problem("malformed-request", msg))

    def _refused(self, problem: Problem) -> ValueError:
        """Give what makes the parser stop, and ask for the refusal."""
        self._fault = problem
        return ValueError(problem.detail)

    def _look_for_client(self) -> None:
        """Say that the answer will come: a client that has closed both ways resets the connection.

        One that has only sent its last byte passes over it (RFC 9110, section 15.2).
        """
        if self.transport.is_closing() or not self.is_answering:
            return
        if not self.cycle.response_started and len(self._unanswered) == 1:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.loop.call_later(LOOK_INTERVAL_S, self._look_for_client)

    def _await_request(self) -> None:
        self._stop_waiting()
        self._idle_timer = self.loop.call_later(self._settings.client_idle_s, self._give_up)

    def _stop_waiting(self) -> None:
        self.since_s = time.monotonic()
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def _give_up(self) -> None:
        if self._head_bytes:
            text = f"The head of the request took longer than {self._settings.client_idle_s:g} s."
            self._refuse(Problem("upload-too-slow", text))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, unless that would come between its answers, and close."""
        if self._reads_a_body:
            # It is the body that is broken: for the application, the client has left.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.write(_response(problem))
        elif not self.is_answering:
            self.transport.write(_response(problem))
        self.transport.close()

    @property
    def _reads_a_body(self) -> bool:
        """Whether the one request that is not answered yet has not come whole."""
        return (
            self.is_answering
            and self.cycle.more_body
            and not self.cycle.response_started
            and len(self._unanswered) == 1
        )


def _ignored() -> None:
    """Do nothing about an answer that has no connection any more."""


def _response(problem: Problem) -> bytes:
    """Write a whole response."""
    response = problem.response()
    fields = {**FIELDS, "Connection": "close", "Date": formatdate(usegmt=True), **response.headers}
    head = "".join(f"{name.lower()}: {value}\r\n" for name, value in fields.items())
    first = f"HTTP/1.1 {response.status_code} {TABLE[problem.code].title}"
    return f"{first}\r\n{head}\r\n".encode() + bytes(response.body)
