"""A slot as a replica sees it: how it is, and whether this replica has a job there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from service.ray_engine.cluster import Cluster, GoneError
from service.ray_engine.messages import SlotHealth
from service.workers import Health, LaneHealth

ASK_S = 1.0
"""How often a slot is asked for its health."""

_STALE_S = 5.0
_CALL_S = 15.0
"""How long a call may take: news comes every five seconds, and a process is killed in ten."""


class Seat:
    """A slot, and what it last told.

    Attributes:
        name: The name of the slot.
        is_taken: Whether a job of this replica has the slot.
        jobs: How many jobs of this replica had it.
        health: What it last told.
    """

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        *,
        objection: Callable[[SlotHealth], str | None],
        changed: Callable[[], None],
    ) -> None:
        """Begin to ask for the health.

        Args:
            name: The name of the slot.
            cluster: Where it is.
            objection: Returns why a slot with this health is not used, if it is not.
            changed: Called after each answer.
        """
        self.name, self._cluster = name, cluster
        self.is_taken, self.jobs = False, 0
        self.health: Health | None = None
        self._objection, self._changed = objection, changed
        self._problem: str | None = "The slot has not answered yet."
        self._heard_at = time.monotonic()
        self._asking = asyncio.create_task(self._ask())

    @property
    def silent_s(self) -> float:
        """Seconds since the slot answered, or since it is known."""
        return time.monotonic() - self._heard_at

    @property
    def problem(self) -> str | None:
        """Why it takes no job, if it takes none."""
        if self._problem is None and self.silent_s > _STALE_S:
            return f"The slot has not answered for {self.silent_s:.0f} s."
        return self._problem

    @property
    def is_busy(self) -> bool:
        """Whether it was at work, for whomever, when it last answered."""
        return self.health is not None and self.health.busy

    def lanes(self) -> list[LaneHealth]:
        """Return the health of its lanes, under names that are unique in the cluster."""
        if self.health is None:
            return [LaneHealth(device=self.name, ready=False, busy=False, problem=self.problem)]
        changes = {"ready": False, "problem": self.problem} if self.problem else {}
        return [
            lane.model_copy(update={"device": f"{self.name}/{lane.device}", **changes})
            for lane in self.health.lanes
        ]

    async def call(self, method: str, *arguments: str | int) -> str:
        """Call a method of the slot.

        Raises:
            GoneError: If it cannot be reached. It takes no job then, until it tells its health.
        """
        try:
            async with asyncio.timeout(_CALL_S):
                return await self._cluster.call(self.name, method, *arguments)
        except (GoneError, TimeoutError) as error:
            self._problem = "The node of the slot is gone, or its process is started again."
            raise GoneError(self.name) from error

    async def leave(self) -> None:
        """Ask no more."""
        self._asking.cancel()
        await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            try:
                health = SlotHealth.model_validate_json(await self.call("health"))
                self.health, self._heard_at = health, time.monotonic()
                self._problem = self._objection(health)
            except GoneError:
                pass
            # This task must survive every error: without it the slot is lost for good.
            except Exception as error:
                self._problem = f"The slot has not told its health: {error}"
            self._changed()
            await asyncio.sleep(ASK_S)


def kind_of(health: Health) -> str:
    """Return the name of the GPU, or `cpu`."""
    return next((lane.gpu for lane in health.lanes if lane.gpu), "cpu")
