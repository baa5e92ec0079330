"""Runs jobs in the slots of a cluster."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Self

import structlog

from convlast.stores.opening import StoreOptions
from service.errors import NotReadyError, WorkerCrashedError
from service.problems import Problem, ProblemError
from service.ray_engine.carrying import Carrier, Lending, StoreCarrier
from service.ray_engine.cluster import Cluster, RayCluster
from service.ray_engine.messages import Order, names_of
from service.ray_engine.seat import Seat, kind_of
from service.ray_engine.token import protected
from service.ray_engine.turns import Turns
from service.ray_engine.visit import Visit
from service.settings import Settings
from service.workers import REPORT_JSON, Finished, Health, Job, JobFiles, Listener
from service.workers.preloaded import CONVERSION

LOOK_S = 2.0
"""How often a replica looks for new and dead slots."""

GRACE_S = 30.0
"""Jobs wait this long for a slot that works; then they are refused. Ray needs about ten seconds to
start an actor again."""

_log = structlog.get_logger()


class RayWorkers:
    """Workers on the nodes of a cluster."""

    def __init__(self, cluster: Cluster, carrier: Carrier, store: str) -> None:
        """Set up without connecting.

        Args:
            cluster: Has the slots.
            carrier: Carries the files of jobs.
            store: The address of the store that they go through.
        """
        self._cluster, self._carrier = cluster, carrier
        self._lending = Lending(carrier, store)
        self._seats: dict[str, Seat] = {}
        self._turns = Turns(self._seats.values)
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._kind: str | None = None
        self._worked_at = time.monotonic()
        self._problem = "The cluster has not answered yet."

    @classmethod
    def of(
        cls, settings: Settings, options: StoreOptions | None = None, task: str = CONVERSION
    ) -> Self:
        """Make workers as the settings say, without connecting.

        Args:
            settings: The settings.
            options: How the store is asked.
            task: The dotted name of the module that does the work.

        Raises:
            SettingsError: If the token of the cluster cannot be used.
        """
        cluster = RayCluster(
            settings.ray_address,
            protected(settings),
            unit="CPU" if settings.device == "cpu" else "GPU",
            task=task,
        )
        return cls(cluster, StoreCarrier(options or StoreOptions()), settings.store)

    async def start(self) -> None:
        """Start to look for slots, and return at once."""
        self._worked_at = time.monotonic()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Leave the slots to other replicas; a job ends with the task that waits for it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._turns.stop()
        await self._lending.stop()
        await asyncio.gather(*(seat.leave() for seat in self._seats.values()))

    async def check(self) -> None:
        """Wait until a slot works.

        Raises:
            NotReadyError: If none does in time.
        """
        await self.start()
        try:
            await self.kind()
        finally:
            await self.stop()

    async def kind(self) -> str:
        """Wait until a slot works, and return its kind: the name of the GPU, or `cpu`.

        Raises:
            NotReadyError: If none does.
        """
        while self._kind is None:
            if self._is_lost():
                raise NotReadyError(self._problem)
            await self._changed.wait()
        return self._kind

    def health(self) -> Health:
        """Return the health of the slots, without waiting."""
        seats = list(self._seats.values())
        told = [seat.health for seat in seats if seat.health is not None]
        ready = [seat.health for seat in seats if seat.health is not None and not seat.problem]
        first = next(iter(ready or told), None)
        since_s = [each.since_probe_s for each in told if each.since_probe_s is not None]
        troubles = (trouble for each in told for trouble in each.known_trouble)
        return Health(
            ready=bool(ready),
            busy=any(seat.is_taken for seat in seats),
            since_probe_s=min(since_s, default=None),
            facts=first.facts if first else {},
            walls=first.walls if first else [],
            problem=None if ready else self._problem,
            lanes=[lane for seat in seats for lane in seat.lanes()],
            waiting=len(self._turns),
            known_trouble=list(dict.fromkeys(troubles)),
        )

    async def run(self, job: Job, files: JobFiles, listener: Listener, *, share: str) -> Finished:
        """Run a job when its turn comes; cancelling this stops the job.

        Raises:
            ConvlastError: If the job ended without an answer.
            ProblemError: If the job was refused.
        """
        if self._is_lost():  # before its checkpoint is sent
            raise NotReadyError(self._problem, retry_after_s=round(GRACE_S))
        came_at = time.monotonic()
        is_first = False
        async with self._lending.lent(files.source) as folder:
            order = Order(id=folder.split("/")[-2], job=job, share=share, folder=folder)
            while True:
                seat = await self._turns.take(listener, share, first=is_first)
                visit = Visit(seat, order)
                try:
                    ended = await visit.run(listener)
                finally:
                    self._turns.release(seat, share)
                if ended.problem is None or ended.problem.code != "not-ready":
                    break
                is_first = True  # its device has just failed; others may work
            if ended.finished is None:
                raise _refusal(ended.problem, files.folder)
            await self._fetch(order, ended.finished, files.folder)
        queue_s = (visit.began_at or came_at) - came_at
        seconds = {**ended.finished.seconds, "queue": queue_s}
        return ended.finished.model_copy(update={"seconds": seconds})

    async def _fetch(self, order: Order, finished: Finished, folder: Path) -> None:
        """Fetch the results.

        Raises:
            StoreError: If the store does not give them.
            WorkerCrashedError: If a name is a path.
        """
        names = names_of(finished)
        if len(set(names)) < len(names) or any(Path(name).name != name for name in names):
            raise WorkerCrashedError.nonsense()
        await asyncio.gather(
            *(self._carrier.fetch(order.result(n), folder / name) for n, name in enumerate(names))
        )

    async def _keep(self) -> None:
        """Keep the seats as the cluster is."""
        while True:
            try:
                await self._look()
            # This task must survive every error: without it no slot is found again.
            except Exception as error:
                self._problem = "The cluster cannot be reached."
                _log.warning("the cluster cannot be reached", problem=str(error))
            self._on_change()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        slots = await self._cluster.slots()
        for name in self._seats.keys() - slots.keys():
            await self._seats.pop(name).leave()
        for name, slot in slots.items():
            if name not in self._seats:
                self._seats[name] = Seat(
                    name, slot, objection=self._objection, changed=self._on_change
                )
            elif self._seats[name].silent_s > GRACE_S:
                await self._cluster.drop(name)
        self._problem = "No slot works." if slots else "No node of the cluster has a slot."

    def _objection(self, health: Health) -> str | None:
        """Return why a slot is not used: its device does not work, or gives other results."""
        if not health.ready:
            return health.problem or "The slot is not ready."
        kind = kind_of(health)
        self._kind = self._kind or kind
        return None if kind == self._kind else f"It is a {kind}, and others are {self._kind}."

    def _on_change(self) -> None:
        """Go on when a slot can take a job, or none has been able to for long."""
        problems = [seat.problem for seat in self._seats.values()]
        if None in problems:
            self._worked_at = time.monotonic()
        elif self._is_lost():
            self._turns.refuse_all(next(filter(None, problems), self._problem), round(GRACE_S))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._turns.match()

    def _is_lost(self) -> bool:
        return time.monotonic() - self._worked_at > GRACE_S


def _refusal(problem: Problem | None, folder: Path) -> ProblemError:
    """Return the error of a job without an answer; its report goes where others are."""
    if problem is None:
        return ProblemError(Problem.of(WorkerCrashedError.nonsense()))
    if problem.report is not None:
        (folder / REPORT_JSON).write_text(problem.report)
    return ProblemError(problem)
