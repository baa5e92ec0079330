"""One run in a slot, as its caller hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from service.ray_engine.messages import Ended, News
from service.workers import Listener
from service.workers.messages import Stage

ANSWER_S = 5.0
"""News that is asked for comes when there is some, and in any case after this time."""

LEASE_S = 30.0
"""A run that nobody has asked about for this long is stopped: its replica is gone."""

_MOST_STAGES = 256


class Run:
    """A job at work, and what is new of it.

    A caller that asks for news after number `n` has heard everything up to `n`. So the job, which
    may not begin before its caller has heard of it, needs no other permission.
    """

    def __init__(
        self, work: Callable[[Listener], Coroutine[Any, Any, Ended]], forsaken: Callable[[], object]
    ) -> None:
        """Start to work.

        Args:
            work: Does the job; it is cancelled if the run is stopped.
            forsaken: Called when nobody has asked for news in time.
        """
        self._forsaken = forsaken
        self._news = News()
        self._stages: dict[tuple[str, int], Stage] = {}
        self._seen = 0
        self._changed = asyncio.Event()
        self._lease = self._new_lease()
        self._task = asyncio.create_task(self._do(work))

    async def after(self, seen: int) -> News:
        """Wait for news after a number, but not for long."""
        self._lease.cancel()
        self._lease = self._new_lease()
        self._seen = max(seen, self._seen)
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._until(lambda: self._news.number > seen)
        stages = list(self._stages.values())
        self._stages.clear()
        return self._news.model_copy(update={"stages": stages})

    async def stop(self) -> None:
        """Stop, and return when the process of the job is gone."""
        self._lease.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def waits(self, place: int) -> None:
        """Hear the place in the queue."""
        self._tell(place=place)

    async def begins(self, device: str) -> None:
        """Hear that a worker has the job, and wait until the caller has heard it too."""
        self._tell(device=device, place=None)
        begun = self._news.number
        await self._until(lambda: self._seen >= begun)

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Hear the progress; of each stage the latest is kept until somebody asks."""
        if len(self._stages) < _MOST_STAGES or (stage, total) in self._stages:
            self._stages[stage, total] = Stage(name=stage, done=done, total=total)
        self._tell()

    async def _do(self, work: Callable[[Listener], Coroutine[Any, Any, Ended]]) -> None:
        self._tell(ended=await work(self))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _tell(self, **changes: object) -> None:
        changes["number"] = self._news.number + 1
        self._news = self._news.model_copy(update=changes)
        self._changed.set()

    def _new_lease(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(LEASE_S, self._forsaken)
