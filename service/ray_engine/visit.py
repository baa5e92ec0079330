"""A job's visit to a slot: it begins there, is heard of, and ends."""

from __future__ import annotations

import time
from contextlib import suppress

from convlast.errors import ConvlastError, DeviceLostError
from service.cancellation import completed
from service.problems import Problem
from service.ray_engine.cluster import GoneError
from service.ray_engine.messages import Ended, News, Order
from service.ray_engine.seat import Seat
from service.ray_engine.slot import GONE
from service.workers import Listener


class Visit:
    """A job in a slot.

    Attributes:
        began_at: When the job began, on the monotonic clock.
    """

    def __init__(self, seat: Seat, order: Order) -> None:
        self._seat, self._order = seat, order
        self.began_at: float | None = None

    async def run(self, listener: Listener) -> Ended:
        """Run the job, and return how it ended; cancelling this stops it.

        Raises:
            ConvlastError: If the listener, which hears of the job, stops it.
        """
        ended: Ended | None = None
        try:
            told = await self._seat.call("begin", self._order.model_dump_json())
            while True:
                news = News.model_validate_json(told)
                ended = news.ended
                await self._hear(news, listener)
                if ended is not None:
                    return ended
                told = await self._seat.call("news", self._order.id, news.number)
        except GoneError:
            return Ended(problem=Problem.of(DeviceLostError(GONE)))
        finally:
            if ended is None:
                await completed(self._end())

    async def _end(self) -> None:
        # Suppressed in here: an error of the work would hide from `completed` that it is cancelled.
        with suppress(GoneError, ConvlastError):
            await self._seat.call("end", self._order.id)

    async def _hear(self, news: News, listener: Listener) -> None:
        if news.place is not None:
            listener.waits(news.place)
        if news.device is not None and self.began_at is None:
            await listener.begins(f"{self._seat.name}/{news.device}")
            self.began_at = time.monotonic()
        for stage in news.stages:
            listener.goes_on(stage.name, stage.done, stage.total)
