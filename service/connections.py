"""What a connection may do before it has sent a request: uvicorn's own, with bounds.

uvicorn waits for the head of a request as long as it takes, and keeps all of it; and it takes the
fields that follow a body (trailers) for fields of the head. Refusals made here are problems too.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.problems import MEDIA_TYPE, TABLE, Problem
from service.protection import FIELDS
from service.settings import Settings

MAX_HEAD_BYTES = 64 << 10
"""Bytes of the head of a request, or of what stands between two pieces of its body."""


class BoundedConnection(HttpToolsProtocol):
    """One connection, bounded in time and memory where no application watches over it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._settings: Settings = app_state["settings"]
        self._beside_bytes = 0
        self._patience: asyncio.TimerHandle | None = None
        self.waiting_since: float | None = None
        """Since when a request is awaited; none: while there is one."""

    # The signature is uvicorn's own, narrower than asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_request()
        if len(self.connections) > self._settings.max_connections:
            _make_way(self.connections, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see that those which are no body stay few."""
        if self.transport.is_closing():
            return
        self._beside_bytes += len(data)
        super().data_received(data)
        if self._beside_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            text = f"The head of the request has more than {MAX_HEAD_BYTES:,} bytes."
            self._refuse(Problem("malformed-request", text))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; one that follows the body is passed over (RFC 9110, 6.5)."""
        if self.waiting_since is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Leave the request to the application, which has bounds of its own."""
        super().on_headers_complete()
        self._beside_bytes = 0
        self._stop_waiting()

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        super().on_body(body)
        self._beside_bytes = 0

    def on_message_complete(self) -> None:
        """Be ready for the fields of a request that follows at once."""
        super().on_message_complete()
        self._beside_bytes, self.waiting_since = 0, self.loop.time()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, unless it is here already."""
        super().on_response_complete()
        if not self.is_answering and not self.transport.is_closing():
            self._await_request()

    @property
    def is_answering(self) -> bool:
        """Whether the application has a request of this connection."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(Problem("malformed-request", msg))

    def _await_request(self) -> None:
        self._stop_waiting()
        self.waiting_since = self.loop.time()
        self._patience = self.loop.call_later(self._settings.client_idle_s, self._give_up)

    def _stop_waiting(self) -> None:
        self.waiting_since = None
        if self._patience is not None:
            self._patience.cancel()

    def _give_up(self) -> None:
        if self._beside_bytes:
            text = f"The head of the request took longer than {self._settings.client_idle_s:g} s."
            self._refuse(Problem("upload-too-slow", text))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, and close."""
        if not self.is_answering:
            self.transport.write(_response(problem))
        self.transport.close()


def _make_way(connections: set[Any], newest: BoundedConnection) -> None:
    """Close the connection that has waited longest for a request, so that probes come through."""
    waiting = [
        each
        for each in connections
        if isinstance(each, BoundedConnection)
        and each is not newest
        and each.waiting_since is not None
        and not each.is_answering
    ]
    oldest = min(waiting, key=lambda each: each.waiting_since or 0.0, default=newest)
    oldest.transport.abort()


def _response(problem: Problem) -> bytes:
    """Write a whole response."""
    row = TABLE[problem.code]
    body = json.dumps(problem.body()).encode()
    fields = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **FIELDS,
    }
    head = "".join(f"{name.lower()}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {row.status} {row.title}\r\n{head}\r\n".encode() + body
