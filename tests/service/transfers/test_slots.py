from __future__ import annotations

import asyncio

from service.transfers.slots import Slots
from tests.service.jobs.boards import in_loop


@in_loop
async def test_one_client_leaves_places_to_others() -> None:
    """It has three quarters at most; the rest of its transfers wait, and go on later."""
    slots, leave = Slots(4), asyncio.Event()
    begun: list[str] = []

    async def moves(share: str) -> None:
        async with slots.taken(share):
            begun.append(share)
            await leave.wait()

    tasks = [asyncio.create_task(moves(share)) for share in ["alice"] * 5 + ["bob"] * 2]
    for _ in range(20):  # turns of the loop, of which each transfer needs a few
        await asyncio.sleep(0)
    assert sorted(begun) == ["alice", "alice", "alice", "bob"]
    leave.set()
    await asyncio.gather(*tasks)
    assert len(begun) == 7


@in_loop
async def test_a_place_is_given_back_by_one_that_is_cancelled() -> None:
    """Whether it waited or had it."""
    slots, held = Slots(1), asyncio.Event()

    async def moves() -> None:
        async with slots.taken("alice"):
            held.set()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(moves()) for _ in range(2)]
    await held.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    async with slots.taken("alice"):
        pass
