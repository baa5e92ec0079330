"""Responses sent piece by piece, with a length known beforehand."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.cancellation import completed
from service.storage.slices import Slice
from service.threads import READING, REMOVING, for_bytes

T = TypeVar("T")

# Starlette's 64 KiB is five times slower: each chunk costs a hop between threads.
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Delivery:
    """The bounds on sending an answer.

    Attributes:
        place: The client's place in an `Admission`, held while the answer is sent.
        idle_s: Seconds after which a client that receives nothing is given up.
        whole_s: Seconds that the whole answer may take.
    """

    place: AbstractContextManager[None]
    idle_s: float
    whole_s: float


class PiecesResponse(Response):
    """A response made of pieces, which closes what it reads however it ends."""

    def __init__(
        self,
        pieces: Sequence[bytes | Slice],
        *,
        status_code: int = 200,
        headers: Mapping[str, str],
        delivery: Delivery,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the response.

        Args:
            pieces: The body, in order.
            status_code: The status.
            headers: The fields, `Content-Type` among them.
            delivery: The bounds on sending it.
            release: Called once, in a thread, after the body was sent or the client disconnected.
        """
        self.status_code = status_code
        self.background = None
        self.pieces = pieces
        self.body_bytes = sum(
            len(piece) if isinstance(piece, bytes) else piece.size_bytes for piece in pieces
        )
        self.init_headers({**headers, "Content-Length": str(self.body_bytes)})
        self._delivery = delivery
        self._release = release

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the fields as they are given; Starlette's own method expects a body."""
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (headers or {}).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, until the client disconnects.

        Raises:
            QueueFullError: If all places are taken; nothing has been sent.
            TooManyRequestsError: If the client has no place left; nothing has been sent.
            TimeoutError: If the client receives nothing, or too slowly.
        """
        gone = asyncio.ensure_future(until_disconnected(receive))
        try:
            with self._delivery.place:
                async with asyncio.timeout(self._delivery.whole_s):
                    await self._send_all(send, gone, with_body=scope["method"] != "HEAD")
        finally:
            gone.cancel()
            await REMOVING.run(self._free)

    async def _send_all(self, send: Send, gone: asyncio.Future[None], *, with_body: bool) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        if with_body:
            async with contextlib.aclosing(self._chunks()) as chunks:
                async for chunk in chunks:
                    if gone.done():
                        return
                    async with asyncio.timeout(self._delivery.idle_s):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body in chunks; a thread reads the next one while one is sent."""
        reading: deque[asyncio.Future[bytes]] = deque()
        try:
            for read, size_bytes in self._reads():
                threads = for_bytes(READING, size_bytes)
                reading.append(asyncio.ensure_future(threads.run(read)))
                if len(reading) > 1:
                    yield await asyncio.shield(reading[0])
                    reading.popleft()
            for last in reading:
                yield await asyncio.shield(last)
        finally:
            # A thread cannot be cancelled, and the file must stay open until it is done.
            if reading:
                await completed(asyncio.wait(reading))

    def _reads(self) -> Iterator[tuple[Callable[[], bytes], int]]:
        """Yield functions that return the next chunk, and the size of each.

        Small pieces are put together: each chunk costs a switch of threads and a call of `send`.
        """
        group: list[Callable[[], bytes]] = []
        group_bytes = 0
        for read, size_bytes in self._parts():
            if group and group_bytes + size_bytes > CHUNK_BYTES:
                yield partial(_joined, group), group_bytes
                group, group_bytes = [], 0
            group.append(read)
            group_bytes += size_bytes
        if group:
            yield partial(_joined, group), group_bytes

    def _parts(self) -> Iterator[tuple[Callable[[], bytes], int]]:
        """Yield functions that return parts of the pieces, and the size of each."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield partial(bytes, piece), len(piece)
                continue
            for start in range(0, piece.size_bytes, CHUNK_BYTES):
                length = min(CHUNK_BYTES, piece.size_bytes - start)
                yield partial(piece.read_at, start, length), length

    def _free(self) -> None:
        for piece in self.pieces:
            if not isinstance(piece, bytes):
                piece.close()
        self._release()


def _joined(reads: Sequence[Callable[[], bytes]]) -> bytes:
    return reads[0]() if len(reads) == 1 else b"".join(read() for read in reads)


async def until_disconnected(receive: Receive) -> None:
    """Wait until the client has closed its connection, and ignore what it still sends."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(
    receive: Receive, work: Coroutine[Any, Any, T], *, timeout_s: float | None = None
) -> T | None:
    """Do work, and stop it if the client disconnects or the time is up; then return none.

    Raises:
        ClientDisconnect: If the client disconnects.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(until_disconnected(receive))
    try:
        await asyncio.wait({working, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if gone.done():
            raise ClientDisconnect
        return None
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
