"""Whose turn it is: jobs that wait for a place to run, each client in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.errors import NotReadyError
from service.workers import Listener
from service.workers.lanes.fair_queue import FairQueue

P = TypeVar("P")

_TELL_S = 0.25
"""How often the jobs that wait are told of their places in the queue."""


@dataclass(eq=False)
class _Waiter(Generic[P]):
    """A job that waits for its turn."""

    share: str
    listener: Listener
    source_bytes: int
    turn: asyncio.Future[P] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Turns(Generic[P]):
    """Gives places to jobs."""

    def __init__(self, offer: Callable[[int], P | None], take_back: Callable[[P], object]) -> None:
        """Set up.

        Args:
            offer: Returns a free place for a job with a checkpoint of this size, which is taken
                then, or none if the job has to wait. It raises `NotReadyError` if nothing works.
            take_back: Called with a place whose job has ended.
        """
        self._offer, self._take_back = offer, take_back
        self._queue: FairQueue[_Waiter[P]] = FairQueue()
        self._telling: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def turn(
        self, share: str, listener: Listener, *, source_bytes: int = 0, first: bool = False
    ) -> AsyncIterator[P]:
        """Wait for a place, and yield it.

        Args:
            share: The client that the job counts for.
            listener: Hears the place in the queue.
            source_bytes: The size of the checkpoint.
            first: Whether the job has had a turn before.

        Raises:
            NotReadyError: If nothing works.
        """
        place = await self._wait(_Waiter(share, listener, source_bytes), first=first)
        try:
            yield place
        finally:
            self._end(place, share)

    def match(self) -> None:
        """Give free places to the jobs whose turn it is, or refuse them if nothing works."""
        while (waiter := self._queue.first()) is not None:
            if waiter.turn.done():  # it is cancelled, and its task has not heard of it yet
                self._queue.remove(waiter.share, waiter)
                continue
            try:
                place = self._offer(waiter.source_bytes)
            except NotReadyError as error:
                self._queue.remove(waiter.share, waiter)
                waiter.turn.set_exception(error)
                continue
            if place is None:
                return
            self._queue.begin().turn.set_result(place)

    def stop(self) -> None:
        """Tell nobody any more."""
        if self._telling is not None:
            self._telling.cancel()

    async def _wait(self, waiter: _Waiter[P], *, first: bool) -> P:
        self._queue.add(waiter.share, waiter, first=first)
        self.match()
        self._tell_places()
        turn = waiter.turn
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._end(turn.result(), waiter.share)
            raise
        finally:
            self._queue.remove(waiter.share, waiter)

    def _end(self, place: P, share: str) -> None:
        """Let the next job have a place."""
        self._queue.end(share)
        self._take_back(place)
        self.match()

    def _tell_places(self) -> None:
        """Tell the jobs that wait of their places soon, and again while any wait."""

        def tell() -> None:
            self._telling = None
            for number, waiter in enumerate(self._queue.in_order(), 1):
                waiter.listener.waits(number)
            self._tell_places()

        if self._telling is None and len(self._queue):
            self._telling = asyncio.get_running_loop().call_later(_TELL_S, tell)
