"""Whose turn it is, where places fail and clients leave at the same moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from service.errors import NotReadyError
from service.workers.lanes.turns import Turns
from tests.service.jobs.boards import in_loop
from tests.service.listening import Heard


@dataclass
class Places:
    """Some places, by their names."""

    free: list[str] = field(default_factory=list)
    problem: str | None = None

    def offer(self, source_bytes: int) -> str | None:
        """Take a place; there is none for a large checkpoint."""
        if self.problem is not None:
            raise NotReadyError(self.problem)
        return self.free.pop() if self.free and source_bytes < 100 else None

    def take_back(self, place: str) -> None:
        """Have a place again."""
        self.free.append(place)

    def turns(self) -> Turns[str]:
        """Return who gets them."""
        return Turns(self.offer, self.take_back)


async def placed(turns: Turns[str], share: str = "alice", source_bytes: int = 0) -> str:
    """Wait for a turn, and return the place that it was at."""
    async with turns.turn(share, Heard(), source_bytes=source_bytes) as place:
        return place


async def waiting(turns: Turns[str]) -> asyncio.Task[str]:
    """Let a job wait for its turn."""
    task = asyncio.create_task(placed(turns))
    await asyncio.sleep(0)
    return task


@in_loop
async def test_a_place_is_free_again_after_a_turn() -> None:
    """Whatever happens there."""
    places = Places(["a"])
    turns = places.turns()

    async def fails() -> None:
        async with turns.turn("alice", Heard()):
            assert places.free == []
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await fails()
    assert await placed(turns) == "a"
    turns.stop()


@in_loop
async def test_a_place_that_comes_back_as_all_are_refused_stays_free() -> None:
    """The refused job does not get it, and the next one does."""
    places = Places()
    turns = places.turns()
    refused = await waiting(turns)
    places.problem = "No slot works."
    turns.match()
    places.free, places.problem = ["a"], None
    turns.match()
    with pytest.raises(NotReadyError, match="No slot works"):
        await refused
    assert places.free == ["a"]
    assert await placed(turns) == "a"
    turns.stop()


@in_loop
async def test_a_client_that_leaves_as_its_turn_comes_has_had_none() -> None:
    """It is not counted as one that has a job, so its next turn comes as soon as before."""
    places = Places()
    turns = places.turns()
    left = await waiting(turns)
    left.cancel()
    places.free = ["a"]
    turns.match()
    await asyncio.wait({left})
    assert (left.cancelled(), places.free, len(turns)) == (True, ["a"], 0)
    turns.stop()


@in_loop
async def test_a_client_that_leaves_with_its_turn_gives_the_place_back() -> None:
    """The turn has come, and its task has not heard of it."""
    places = Places()
    turns = places.turns()
    left = await waiting(turns)
    places.free = ["a"]
    turns.match()
    left.cancel()
    await asyncio.wait({left})
    assert (left.cancelled(), places.free, len(turns)) == (True, ["a"], 0)
    turns.stop()


@in_loop
async def test_a_refused_job_that_is_cancelled_leaves_nothing() -> None:
    """Its refusal is nobody's then."""
    places = Places()
    turns = places.turns()
    left = await waiting(turns)
    places.problem = "No slot works."
    turns.match()
    left.cancel()
    await asyncio.wait({left})
    assert (left.cancelled(), len(turns)) == (True, 0)
    turns.stop()


@in_loop
async def test_jobs_that_wait_are_told_of_their_places() -> None:
    """Again and again, while any waits."""
    places = Places()
    turns = places.turns()
    heard = [Heard(), Heard()]

    async def wait(each: Heard) -> None:
        async with turns.turn("alice", each):
            pass

    tasks = [asyncio.create_task(wait(each)) for each in heard]
    async with asyncio.timeout(20):
        while len(heard[1].places) < 2:  # noqa: ASYNC110  # a timer fills it
            await asyncio.sleep(0.01)
    assert (heard[0].places[:2], heard[1].places[:2]) == ([1, 1], [2, 2])
    places.free = ["a"]
    turns.match()
    await asyncio.gather(*tasks)
    turns.stop()
