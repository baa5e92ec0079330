"""The status of a job, as an answer: at once, after a change, or as a stream of events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, aclosing

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.connection.streaming import while_connected
from service.context import Context
from service.headers.negotiation import JSON
from service.jobs.description import fields_of, json_of
from service.jobs.entry import JobEntry

EVENT_STREAM = "text/event-stream"
HEARTBEAT_S = 15.0
PAUSE_S = 0.25
"""The least time between two events of a stream."""

_RETRY_MS = 1000


def etag_of(entry: JobEntry) -> str:
    """Return the entity tag of a job's status."""
    return f'"{entry.seq}"'


def document_of(entry: JobEntry, request: Request, context: Context) -> bytes:
    """Return the status of a job as JSON."""
    base = request.scope.get("root_path", "")
    return json_of(entry, base=base, max_age_s=context.settings.store_age_s)


def status_of(
    entry: JobEntry, request: Request, context: Context, *, status_code: int = 200, **more: str
) -> Response:
    """Answer with the status of a job."""
    headers = {"ETag": etag_of(entry), "Cache-Control": "no-cache", **fields_of(entry), **more}
    if entry.outcome is None or status_code == 202:
        headers["Retry-After"] = str(context.estimated_s(entry))
    body = document_of(entry, request, context)
    return Response(body, status_code=status_code, headers=headers, media_type=JSON)


class EventStream(Response):
    """The changes of a job, as server-sent events, until it has ended.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(
        self,
        entry: JobEntry,
        request: Request,
        context: Context,
        *,
        place: AbstractContextManager[None],
        last_seq: int | None,
    ) -> None:
        """Prepare the stream.

        Args:
            entry: The job.
            request: The request.
            context: The parts of the service.
            place: The client's place among those that follow a job, held meanwhile.
            last_seq: The number of the last event that the client has got, if it has any.
        """
        self.status_code = 200
        self.background = None
        self.init_headers(fields_of(entry))
        self._entry, self._request, self._context = entry, request, context
        self._place, self._last_seq = place, last_seq

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the fields; nginx would otherwise hold the events back until it has many."""
        fields = {
            **{name.lower(): value for name, value in (headers or {}).items()},
            "content-type": f"{EVENT_STREAM}; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
        }
        self.raw_headers = [(name.encode(), value.encode()) for name, value in fields.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, until the job has ended or the client disconnects.

        Raises:
            QueueFullError: If too many clients follow jobs; nothing has been sent.
            TooManyRequestsError: If this client follows too many; nothing has been sent.
        """
        with self._place:
            sends = self._send_all(send, with_body=scope["method"] != "HEAD")
            with contextlib.suppress(ClientDisconnect):
                await while_connected(receive, sends)

    async def _send_all(self, send: Send, *, with_body: bool) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        if with_body:
            async with aclosing(self._events()) as events:
                async for event in events:
                    async with asyncio.timeout(self._context.settings.client_idle_s):
                        await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncGenerator[bytes]:
        """Yield the latest status and then each change, coalesced, and a heartbeat in between."""
        entry, seq = self._entry, self._last_seq
        yield f"retry: {_RETRY_MS}\n\n".encode()
        while True:
            while entry.seq == seq and not entry.has_ended:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await entry.changed()
                except TimeoutError:
                    yield b": heartbeat\n\n"
            if entry.seq != seq:
                seq = entry.seq
                document = document_of(entry, self._request, self._context)
                yield b"id: %d\ndata: %b\n\n" % (seq, document)
            # The end may have come while the event before it was sent to a slow client.
            if entry.has_ended and entry.seq == seq:
                return
            await asyncio.sleep(PAUSE_S)
