"""Attacks by someone without a key: connections, heads and refusals."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

HEAD = b"HTTP/1.1\r\nHost: 127.0.0.1\r\n"
UPLOAD = b"POST /convert " + HEAD + b"Content-Type: application/octet-stream\r\n"
BURST = 140
HELD_S = 1.6
PATIENCE_S = 10.0

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]


def repeat(name: str, port: int, seconds: float) -> Counter[str]:
    """Do it in bursts, by several clients at once, and count what comes back."""
    return asyncio.run(_repeat(ATTACKS[name], port, seconds))


async def _repeat(act: Act, port: int, seconds: float) -> Counter[str]:
    answers: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    until_s = loop.time() + seconds
    async with asyncio.TaskGroup() as clients:
        for _ in range(5):
            clients.create_task(_attack(act, port, until_s, answers))
    return answers


async def _attack(act: Act, port: int, until_s: float, answers: Counter[str]) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until_s:
        async with asyncio.TaskGroup() as burst:
            for _ in range(BURST):
                burst.create_task(_once(act, port, answers))
                await asyncio.sleep(0.001)


async def _once(act: Act, port: int, answers: Counter[str]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answers[await act(reader, writer)] += 1
            writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        answers[type(error).__name__] += 1


async def _status(reader: asyncio.StreamReader) -> str:
    return (await reader.readline())[9:12].decode() or "closed"


async def keyless_uploads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Begin an upload without a key, and hold the connection that lingers."""
    writer.write(UPLOAD + b"Content-Length: 100000\r\n\r\nabc")
    status = await _status(reader)
    await asyncio.sleep(HELD_S)
    return status


async def half_open(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Send a part of a head, and no more."""
    writer.write(b"GET /livez " + HEAD)
    await asyncio.sleep(HELD_S)
    return "held"


async def blanks_in_range(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask for a range that is all blanks."""
    field = b"Range: bytes=" + b" " * 8000 + b"-" + b" " * 8000 + b"x\r\n\r\n"
    writer.write(b"GET /jobs/0/artifact " + HEAD + b"Authorization: Bearer no\r\n" + field)
    return await _status(reader)


async def half_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask, send no more, and stay."""
    writer.write(b"GET /jobs/0/report " + HEAD + b"\r\n")
    writer.write_eof()
    status = await _status(reader)
    await asyncio.sleep(HELD_S)
    return status


async def slow_readers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask for page after page, and read none of them."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's is one that reads
    writer.write((b"GET /openapi.json " + HEAD + b"\r\n") * 5)
    await asyncio.sleep(HELD_S)
    return "held"


async def pipelined(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Send thousands of requests in one piece."""
    writer.write((b"GET /x " + HEAD + b"\r\n") * 5000)
    await asyncio.sleep(HELD_S)
    return "held"


ATTACKS: dict[str, Act] = {
    "keyless-uploads": keyless_uploads,
    "half-open": half_open,
    "blanks-in-range": blanks_in_range,
    "half-closed": half_closed,
    "slow-readers": slow_readers,
    "pipelined": pipelined,
}
