"""Runs jobs in the slots of a cluster."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Self

import structlog

from convlast.stores.opening import StoreOptions
from convlast.version import __version__
from service.errors import NotReadyError, WorkerCrashedError
from service.problems import Problem, ProblemError
from service.ray_engine.carrying import Lending, fetch_results
from service.ray_engine.cluster import Cluster, RayCluster
from service.ray_engine.messages import Order, SlotHealth
from service.ray_engine.seat import Seat, kind_of
from service.ray_engine.token import protected
from service.ray_engine.visit import Visit
from service.settings import Settings
from service.workers import REPORT_JSON, Finished, Health, Job, JobFiles, Listener
from service.workers.lanes.turns import Turns
from service.workers.preloaded import CONVERSION

LOOK_S = 2.0
"""How often a replica looks for new and dead slots."""

GRACE_S = 30.0
"""Jobs wait this long for a slot that works; then they are refused. Ray needs about ten seconds to
start an actor again."""

_log = structlog.get_logger()


class RayWorkers:
    """Workers on the nodes of a cluster."""

    def __init__(self, cluster: Cluster, store: str, options: StoreOptions) -> None:
        """Set up without connecting.

        Args:
            cluster: Has the slots.
            store: The address of the store that the files of jobs go through.
            options: How the store is asked.
        """
        self._cluster, self._options = cluster, options
        self._lending = Lending(store, options)
        self._seats: dict[str, Seat] = {}
        self._turns = Turns(self._offer, self._take_back)
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
        return cls(cluster, settings.store, options or StoreOptions())

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
            self._expect_one()
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
            problem=None if ready else self._why(),
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
        self._expect_one()  # before its checkpoint is sent
        came_at = time.monotonic()
        is_first = False
        async with self._lending.lent(files.source) as folder:
            order = Order(job=job, share=share, folder=folder)
            while True:
                async with self._turns.turn(share, listener, first=is_first) as seat:
                    visit = Visit(seat, order)
                    ended = await visit.run(listener)
                if ended.problem is None or ended.problem.code != "not-ready":
                    break
                is_first = True  # its device has just failed; others may work
            if ended.finished is None:
                raise _refusal(ended.problem, files.folder)
            await fetch_results(order, ended, files.folder, self._options)
        queue_s = (visit.began_at or came_at) - came_at
        seconds = {**ended.finished.seconds, "queue": queue_s}
        return ended.finished.model_copy(update={"seconds": seconds})

    def _offer(self, source_bytes: int) -> Seat | None:
        """Take a free seat for a job, if there is one.

        Raises:
            NotReadyError: If no slot has worked for long.
        """
        self._expect_one()
        free = [seat for seat in self._seats.values() if not (seat.is_taken or seat.problem)]
        # A slot that works for another replica has a queue of its own.
        seat = min(free, key=lambda each: (each.is_busy, each.jobs), default=None)
        if seat is not None:
            seat.is_taken = True
            seat.jobs += 1
        return seat

    def _take_back(self, seat: Seat) -> None:
        """Let another job have a seat."""
        seat.is_taken = False

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
        names = await self._cluster.slots()
        for name in self._seats.keys() - names:
            await self._seats.pop(name).leave()
        for name in names:
            if name not in self._seats:
                self._seats[name] = Seat(
                    name, self._cluster, objection=self._objection, changed=self._on_change
                )
            elif self._seats[name].silent_s > GRACE_S:
                await self._cluster.drop(name)
        self._problem = "No slot works." if names else "No node of the cluster has a slot."

    def _objection(self, health: SlotHealth) -> str | None:
        """Return why a slot is not used: it does not work, or would give other results."""
        if health.version != __version__:
            there = f"version {health.version}" if health.version else "another version"
            return f"Its node has {there} of the service, and this one is {__version__}."
        if not health.ready:
            return health.problem or "The slot is not ready."
        kind = kind_of(health)
        self._kind = self._kind or kind
        return None if kind == self._kind else f"It is a {kind}, and others are {self._kind}."

    def _on_change(self) -> None:
        """Go on when a slot can take a job, or none has been able to for long."""
        if any(seat.problem is None for seat in self._seats.values()):
            self._worked_at = time.monotonic()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._turns.match()

    def _expect_one(self) -> None:
        """Expect that a slot works, or soon will.

        Raises:
            NotReadyError: If none has worked for long.
        """
        if time.monotonic() - self._worked_at > GRACE_S:
            raise NotReadyError(self._why(), retry_after_s=round(GRACE_S))

    def _why(self) -> str:
        """Return why no slot works."""
        problems = (seat.problem for seat in self._seats.values())
        return next(filter(None, problems), self._problem)


def _refusal(problem: Problem | None, folder: Path) -> ProblemError:
    """Return the error of a job without an answer; its report goes where others are."""
    if problem is None:
        return ProblemError(Problem.of(WorkerCrashedError.nonsense()))
    if problem.report is not None:
        (folder / REPORT_JSON).write_text(problem.report)
    return ProblemError(problem)
