"""Whose turn it is: jobs that wait for a seat, each client in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from service.errors import NotReadyError
from service.ray_engine.seat import Seat
from service.workers import Listener
from service.workers.lanes.fair_queue import FairQueue

_TELL_S = 0.25


@dataclass(eq=False)
class _Waiter:
    """A job that waits."""

    listener: Listener
    share: str
    turn: asyncio.Future[Seat] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Turns:
    """Gives seats to jobs."""

    def __init__(self, seats: Callable[[], Iterable[Seat]]) -> None:
        """Set up; `seats` returns those that there are now."""
        self._seats = seats
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._telling: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._queue)

    async def take(self, listener: Listener, share: str, *, first: bool) -> Seat:
        """Wait for a seat.

        Args:
            listener: Hears the place in the queue.
            share: The client that the job counts for.
            first: Whether the job has had a turn before.

        Raises:
            NotReadyError: If no slot works.
        """
        waiter = _Waiter(listener, share)
        self._queue.add(share, waiter, first=first)
        self.match()
        self._tell_places()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            turn = waiter.turn
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(turn.result(), share)
            raise
        finally:
            self._queue.remove(share, waiter)

    def release(self, seat: Seat, share: str) -> None:
        """Let the next job have a seat."""
        seat.is_taken = False
        self._queue.end(share)
        self.match()

    def match(self) -> None:
        """Give free seats to the jobs whose turn it is."""
        while (waiter := self._queue.first()) is not None:
            free = [seat for seat in self._seats() if not (seat.is_taken or seat.problem)]
            if not free:
                return
            if waiter.turn.done():  # refused or cancelled, and its task has not heard of it yet
                self._queue.remove(waiter.share, waiter)
                continue
            self._queue.begin()
            # A slot that works for another replica has a queue of its own.
            seat = min(free, key=lambda each: (each.is_busy, each.jobs))
            seat.is_taken = True
            seat.jobs += 1
            waiter.turn.set_result(seat)

    def refuse_all(self, problem: str, retry_after_s: int) -> None:
        """Refuse all jobs that wait, since no slot works."""
        for waiter in list(self._queue):
            if not waiter.turn.done():
                waiter.turn.set_exception(NotReadyError(problem, retry_after_s=retry_after_s))

    def stop(self) -> None:
        """Tell nobody any more."""
        if self._telling is not None:
            self._telling.cancel()

    def _tell_places(self) -> None:
        """Tell the jobs that wait of their places soon, and again while any wait."""

        def tell() -> None:
            self._telling = None
            for place, waiter in enumerate(self._queue.in_order(), 1):
                waiter.listener.waits(place)
            self._tell_places()

        if self._telling is None and len(self._queue):
            self._telling = asyncio.get_running_loop().call_later(_TELL_S, tell)
