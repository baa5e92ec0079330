from __future__ import annotations

import asyncio

import pytest

from service.ray_engine import running
from service.ray_engine.messages import Ended
from service.ray_engine.running import Run
from service.workers import Listener
from tests.service.jobs.boards import in_loop


async def over(listener: Listener) -> Ended:
    """Begin, tell much, and end."""
    await listener.begins("cpu")
    for done in range(1_000):
        listener.goes_on("write", done, 999)
    listener.goes_on("files", 0, 1)
    listener.goes_on("files", 0, 2)
    return Ended()


async def for_ever(listener: Listener) -> Ended:
    """Never end."""
    await asyncio.Event().wait()
    return Ended()


@in_loop
async def test_a_run_begins_when_its_caller_has_heard_of_it() -> None:
    """It goes on only when news after that is asked for."""
    run = Run(over, lambda: None)
    news = await run.after(0)
    assert (news.device, news.stages, news.ended) == ("cpu", [], None)
    while (news := await run.after(news.number)).ended is None:
        pass
    await run.stop()


@in_loop
async def test_progress_is_thinned_out() -> None:
    """Of each stage and total the latest is told, in order."""
    run = Run(over, lambda: None)
    first = await run.after(0)
    last = await run.after(first.number)
    told = [(each.name, each.done, each.total) for each in last.stages]
    assert told == [("write", 999, 999), ("files", 0, 1), ("files", 0, 2)]
    assert last.ended == Ended()
    assert (await run.after(last.number - 1)).stages == []
    await run.stop()


@in_loop
async def test_a_run_that_nobody_asks_about_is_forsaken() -> None:
    """Its replica is gone; each question renews the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "LEASE_S", 0.3)
        patch.setattr(running, "ANSWER_S", 0.1)
        forsaken = asyncio.Event()
        run = Run(for_ever, forsaken.set)
        for _ in range(5):
            await run.after(0)
            assert not forsaken.is_set()
        await forsaken.wait()
        await run.stop()
