"""Whose turn it is, where slots fail and clients leave at the same moment."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.errors import NotReadyError
from service.ray_engine.seat import Seat
from service.ray_engine.turns import Turns
from tests.service.jobs.boards import in_loop


class Silent:
    """A listener that does nothing."""

    def waits(self, place: int) -> None:
        """Hear a place."""


def seat(problem: str | None) -> Seat:
    """Make a seat, as far as turns need it."""
    return cast("Seat", SimpleNamespace(is_taken=False, problem=problem, is_busy=False, jobs=0))


async def waiting(turns: Turns) -> asyncio.Task[Seat]:
    """Let a job wait for its turn."""
    listener: Any = Silent()
    task = asyncio.create_task(turns.take(listener, "alice", first=False))
    await asyncio.sleep(0)
    return task


@in_loop
async def test_a_slot_that_comes_back_as_all_are_refused_stays_free() -> None:
    """The refused job does not get it, and the next one does."""
    only = seat("It is gone.")
    turns = Turns(lambda: [only])
    refused = await waiting(turns)
    turns.refuse_all("No slot works.", 30)
    only.problem = None  # type: ignore[misc]  # a stand-in
    turns.match()
    with pytest.raises(NotReadyError):
        await refused
    assert not only.is_taken
    assert await turns.take(cast("Any", Silent()), "alice", first=False) is only
    turns.stop()


@in_loop
async def test_a_client_that_leaves_as_its_turn_comes_has_had_none() -> None:
    """It is not counted as one that has a job, so its next turn comes as soon as before."""
    only = seat("It is gone.")
    turns = Turns(lambda: [only])
    left = await waiting(turns)
    left.cancel()
    only.problem = None  # type: ignore[misc]  # a stand-in
    turns.match()
    await asyncio.wait({left})
    assert (left.cancelled(), only.is_taken, len(turns)) == (True, False, 0)
    turns.stop()
