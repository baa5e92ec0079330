"""Blocking readings: they hang, raise and are shared."""

from __future__ import annotations

import asyncio
import threading

from service.telemetry.readings import Reading
from tests.service.jobs.boards import in_loop


@in_loop
async def test_a_reading_is_returned() -> None:
    """What the function returns is returned, from another thread each time."""
    reading = Reading("thread", threading.get_ident)
    assert await reading.take() not in (None, threading.get_ident())
    assert await reading.take() is not None


@in_loop
async def test_a_reading_that_raises_is_none() -> None:
    """It is none, and the next one is tried."""
    answers = iter([1, 0])
    reading = Reading("division", lambda: 1 // next(answers))
    assert [await reading.take() for _ in range(2)] == [1, None]


@in_loop
async def test_a_reading_that_hangs_keeps_nobody_waiting() -> None:
    """It is none, has one thread however often it is asked for, and is told once it is done."""
    go_on, begun, calls = threading.Event(), threading.Event(), []

    def read() -> int:
        calls.append(1)
        begun.set()
        go_on.wait()
        return 7

    reading = Reading("disk", read, patience_s=0.01)
    assert [await reading.take() for _ in range(3)] == [None, None, None]
    assert await asyncio.to_thread(begun.wait, 10)
    assert len(calls) == 1
    waiting = asyncio.ensure_future(reading.take())
    go_on.set()
    await waiting
    while (told := await reading.take()) is None:
        pass
    assert told == 7


@in_loop
async def test_readings_at_once_are_one() -> None:
    """Two scrapes at the same time share the reading."""
    calls, go_on = [], threading.Event()

    def read() -> int:
        calls.append(1)
        go_on.wait()
        return len(calls)

    reading = Reading("shared", read)
    both = asyncio.gather(reading.take(), reading.take())
    await asyncio.sleep(0.01)
    go_on.set()
    assert list(await both) == [1, 1]
