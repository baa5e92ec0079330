"""A network that is slow, answers in the place of a server, cuts connections, or is away."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")

_PIECE_BYTES = 8192


@dataclass(frozen=True)
class Fault:
    """What happens to one connection.

    Attributes:
        kind: `status`: it is answered with this status, and not by the server. `cut`: it is cut
            after so many bytes of the answers. `lost`: the server gets the request, and nobody its
            answer.
        value: The status or the bytes.
        only: The fault waits for a request that begins with this.
    """

    kind: Literal["status", "cut", "lost"]
    value: int = 0
    only: bytes = b""


@dataclass
class Unreliable:
    """A proxy in front of a server. It is perfect until it is told otherwise.

    Attributes:
        server_port: The port of the server.
        bytes_a_second: How fast it is, all connections together; 0 for as fast as can be.
        faults: What happens to the next requests, which all have a connection of their own.
        always: What happens to each request, when there are no more faults.
        requests: The first line of each.
    """

    server_port: int
    bytes_a_second: int = 0
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._slow = asyncio.Lock()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def leave(self) -> None:
        """Be away: refuse connections, and cut those that there are."""
        self._run(self._leave())

    def come_back(self) -> None:
        """Listen again."""
        self._run(self._listen())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _leave(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, and close the connection after its answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.partition(b"\r\n")[0].decode())
        length = _length_of(head)
        fault = self._next_fault(head)
        if fault is not None and fault.kind == "status":
            await self._pass(reader, None, length)
            writer.write(b"HTTP/1.1 %d Trouble\r\nContent-Length: 0\r\n\r\n" % fault.value)
            await _close(writer)
            return
        upstream, outward = await asyncio.open_connection("127.0.0.1", self.server_port)
        try:
            outward.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await self._pass(reader, outward, length)
            if fault is not None and fault.kind == "lost":
                await upstream.read(1)
                return
            most = fault.value if fault is not None else None
            if await self._pass(upstream, writer, most) != most:
                await _close(writer)
        finally:
            outward.transport.abort()

    def _next_fault(self, head: bytes) -> Fault | None:
        if self.faults and head.startswith(self.faults[0].only):
            return self.faults.popleft()
        return self.always if not self.faults else None

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter | None, most: int | None
    ) -> int:
        """Pass bytes on until there are no more, or so many, and return how many."""
        done = 0
        while most is None or done < most:
            left = _PIECE_BYTES if most is None else min(_PIECE_BYTES, most - done)
            if not (piece := await source.read(left)):
                break
            done += len(piece)
            if self.bytes_a_second:
                async with self._slow:
                    await asyncio.sleep(len(piece) / self.bytes_a_second)
            if target is not None:
                target.write(piece)
                await target.drain()
        return done

    def run_forever(self) -> None:
        """Serve, in a thread of its own."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def stop(self) -> None:
        """End all of it."""
        self._run(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        """Close the loop, which has stopped."""
        self._loop.close()


def _length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close as a server does that has said all, and not as a cut line."""
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@contextmanager
def unreliable(server_port: int) -> Iterator[Unreliable]:
    """Stand in front of a server until the end of the block."""
    proxy = Unreliable(server_port)
    thread = threading.Thread(target=proxy.run_forever)
    thread.start()
    try:
        proxy.come_back()
        yield proxy
    finally:
        proxy.stop()
        thread.join(30)
        proxy.close()


@contextmanager
def later(delay_s: float, act: Callable[[], None]) -> Iterator[None]:
    """Do something after a while, and wait for it at the end of the block."""
    timer = threading.Timer(delay_s, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()
