from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message

from service.connection.streaming import CHUNK_BYTES, Delivery, PiecesResponse, while_connected
from service.headers.digests import ContentDigest
from service.settings import Settings
from service.storage.slices import FileSlice
from service.uploads import receiving as uploads


def response(pieces: list[bytes | FileSlice]) -> PiecesResponse:
    """Make a response without limits."""
    delivery = Delivery(contextlib.nullcontext(), idle_s=60, whole_s=60)
    return PiecesResponse(pieces, headers={}, delivery=delivery)


async def body_of(pieces: list[bytes | FileSlice]) -> bytes:
    """Send a response, and return the body that was sent."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.sleep(60)

    await response(pieces)({"type": "http", "method": "GET"}, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


def file_of(path: Path, content: bytes) -> FileSlice:
    """Open a file with this content."""
    path.write_bytes(content)
    return FileSlice.whole(path.parent, path.name)


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5])
def test_pieces_come_in_order_and_whole(tmp_path: Path, size_bytes: int) -> None:
    """Bytes and files of any number of chunks are sent in order."""
    content = os.urandom(size_bytes)
    pieces: list[bytes | FileSlice] = [
        b"head",
        file_of(tmp_path / "a", content),
        b"between",
        file_of(tmp_path / "b", b"x"),
    ]
    assert asyncio.run(body_of(pieces)) == b"head" + content + b"between" + b"x"


class Gate:
    """Holds a thread up until the test lets it go."""

    def __init__(self) -> None:
        self.reached, self.released = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Wait, in the thread."""
        self.reached.set()
        self.released.wait(30)


async def is_held_by(gate: Gate, work: Coroutine[Any, Any, None]) -> bool:
    """Cancel work whose thread waits at a gate; return whether it ends only after that."""
    task = asyncio.ensure_future(work)
    assert await asyncio.to_thread(gate.reached.wait, 30)
    for _ in range(2):  # a deadline, and then the end of the service
        task.cancel()
        await asyncio.sleep(0.1)
    was_held = not task.done()
    gate.released.set()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    return was_held


def test_a_file_stays_open_while_a_thread_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is closed only after its thread, even if the client has disconnected."""
    gate, pread = Gate(), os.pread

    def slow_pread(descriptor: int, length: int, offset: int) -> bytes:
        gate.wait()
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", slow_pread)
    pieces: list[bytes | FileSlice] = [file_of(tmp_path / "a", b"content")]

    async def send() -> None:
        await body_of(pieces)

    assert asyncio.run(is_held_by(gate, send()))


@pytest.mark.parametrize("slow", ["write", "hash"])
def test_a_file_stays_open_while_a_thread_works_on_it(slow: str) -> None:
    """An upload's file is closed only after its threads, even if the client has disconnected."""
    gate = Gate()

    class Body(uploads._Body):
        def __init__(self) -> None:
            """Accept any arguments."""
            self.digest = ContentDigest(None)

        def unpack(self, batch: list[bytes]) -> list[bytes]:
            return batch

        def write(self, pieces: list[bytes]) -> None:
            self._wait_if("write")

        def hash(self, pieces: list[bytes], batch: list[bytes]) -> None:
            self._wait_if("hash")

        def _wait_if(self, verb: str) -> None:
            if slow == verb:
                gate.wait()

    async def batches() -> AsyncIterator[list[bytes]]:
        yield [b"a"]
        yield [b"b"]

    assert asyncio.run(is_held_by(gate, uploads._fill(Body(), batches())))


def test_single_bytes_do_not_pile_up(tmp_path: Path) -> None:
    """A batch has a limited number of pieces, since each one takes more memory than its bytes."""

    class Request:
        headers = Headers({})

        @staticmethod
        async def stream() -> AsyncIterator[bytes]:
            for _ in range(2000):
                yield b"x"

    async def largest() -> int:
        request: Any = Request()
        return max([len(b) async for b in uploads._batches(request, Settings().client_idle_s)])

    assert asyncio.run(largest()) == uploads._BATCH_PIECES


async def connected() -> Message:
    """Receive nothing from a client that stays."""
    await asyncio.Event().wait()
    raise AssertionError


async def disconnected() -> Message:
    """Receive the news that a client has left."""
    return {"type": "http.disconnect"}


def test_work_whose_time_is_up_ends_with_nothing() -> None:
    """A client that stays is not taken for one that has left, even if a timer is early."""

    async def wait() -> list[Message | None]:
        forever = (connected() for _ in range(50))
        return [await while_connected(connected, each, timeout_s=0.001) for each in forever]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(wait()) == [None] * 50


def test_work_of_a_client_that_left_is_stopped() -> None:
    """The error says that it has left, and the work is cancelled."""
    stopped: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    with pytest.raises(ClientDisconnect):
        asyncio.run(while_connected(disconnected, work()))
    assert stopped == [True]
