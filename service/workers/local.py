"""Workers on this machine: a new process for each job, forked from one that has imported torch.

That process is the fork server of `multiprocessing`. It starts with the first worker, imports the
task's module, uses no device, and forks. The service process never imports torch.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing.context import ForkServerContext

from convlast.errors import ConvlastError
from service.errors import NotReadyError
from service.problems import ProblemError
from service.workers import (
    STAGES,
    Confinement,
    Finished,
    Health,
    Job,
    JobFiles,
    Listener,
    known_trouble,
)
from service.workers.lanes.devices import lanes_after_survey, named_devices
from service.workers.lanes.fair_queue import FairQueue
from service.workers.lanes.lane import Forking, Lane
from service.workers.lanes.memory_budget import MemoryBudget
from service.workers.messages import Refused
from service.workers.moving import problem_of
from service.workers.preloaded import preloaded
from service.workers.running import LocalWork, run_in


@dataclass(frozen=True)
class Capacity:
    """How many workers there are.

    Attributes:
        cpu_lanes: How many jobs run at once on the CPU; on each GPU one does.
        warm: How many warm workers wait in each lane.
    """

    cpu_lanes: int = 1
    warm: int = 1


_ALONE = Capacity()

_TELL_S = 0.25
"""How often the jobs that wait are told of their places."""


@dataclass(eq=False)
class _Waiter:
    """A job that waits for its turn."""

    share: str
    source_bytes: int
    listener: Listener
    turn: asyncio.Future[Lane] = field(default_factory=lambda: _loop().create_future())
    allowance_bytes: int = 0


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class LocalWorkers:
    """Runs jobs in several lanes; the clients that wait take turns."""

    def __init__(
        self,
        *,
        task: str,
        device: str,
        job_timeout_s: float,
        confinement: Confinement,
        capacity: Capacity = _ALONE,
        memory: MemoryBudget | None = None,
    ) -> None:
        """Set up the workers without starting any.

        Args:
            task: The dotted name of the module that does the work.
            device: The device or devices to use, as in `CONVLAST_DEVICE`.
            job_timeout_s: Seconds after which a job is stopped.
            confinement: The limits of each worker.
            capacity: How many workers there are.
            memory: The memory of all workers, shared with others; by default as much as the lanes
                need.
        """
        context: ForkServerContext = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(preloaded(task))
        self._forking = Forking(context, task, confinement, capacity.warm)
        self._device, self._job_timeout_s = device, job_timeout_s
        self._cpu_lanes = capacity.cpu_lanes
        base_bytes = confinement.max_memory_bytes
        budget = memory or MemoryBudget(1 << 62, base_bytes)
        self._memory = budget.pool(self._match)
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._lanes: list[Lane] = []
        self._is_surveyed = False
        self._news = asyncio.Event()
        self._telling: asyncio.TimerHandle | None = None
        devices = named_devices(device)
        self._add_lanes(devices)
        self._is_surveyed = devices != [device]
        if device == "cpu":
            self._survey()

    async def start(self) -> None:
        """Start to prepare the first worker of each lane, and return at once."""
        for lane in self._lanes:
            lane.start()

    async def check(self) -> None:
        """Check that one of the devices works, and that those with a number exist.

        Raises:
            ConvlastError: If none works, or one does not exist.
        """
        failures: list[ConvlastError] = []
        for lane in self._lanes:
            try:
                await lane.check()
            except ConvlastError as error:
                failures.append(error)
                continue
            lanes_after_survey(self._device, lane.state.facts, self._cpu_lanes)
            return
        raise failures[0]

    async def kind(self) -> str:
        """Wait until a device is known, and return its kind: the name of the GPU, or `cpu`.

        Raises:
            NotReadyError: If no device works.
        """
        while self._device != "cpu":
            known = [lane.state for lane in self._lanes if lane.state.facts]
            if known:
                return known[0].gpu or "cpu"
            if all(lane.state.has_failed for lane in self._lanes):
                raise NotReadyError(self._problem())
            await self._news.wait()
        return "cpu"

    async def stop(self) -> None:
        """End the idle workers; a running job ends with the task that waits for it."""
        if self._telling is not None:
            self._telling.cancel()
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    def health(self) -> Health:
        """Return the health of the workers, without waiting."""
        lanes = [lane.health() for lane in self._lanes]
        ready = [lane for lane, told in zip(self._lanes, lanes, strict=True) if told.ready]
        first = (ready or self._lanes)[0]
        since_s = [each for lane in self._lanes if (each := lane.state.since_probe_s) is not None]
        problems = [lane.state.problem for lane in self._lanes if lane.state.problem]
        troubles = chain.from_iterable(known_trouble(lane.state.facts) for lane in self._lanes)
        return Health(
            ready=bool(ready),
            busy=any(lane.busy for lane in lanes),
            since_probe_s=round(min(since_s), 3) if since_s else None,
            facts=first.state.facts,
            walls=first.state.walls,
            problem=None if ready or not problems else problems[0],
            lanes=lanes,
            waiting=len(self._queue),
            known_trouble=list(dict.fromkeys(troubles)),
        )

    async def run(self, job: Job, files: JobFiles, listener: Listener, *, share: str) -> Finished:
        """Run a job when its turn comes; cancelling this stops the job.

        Raises:
            ConvlastError: If the job ended without an answer.
            ProblemError: If the job was refused.
        """
        came_at = time.monotonic()
        is_first = False
        while True:
            waiter = _Waiter(share, files.source.stat().st_size, listener)
            lane = await self._turn(waiter, first=is_first)
            try:
                try:
                    worker = await lane.take_worker()
                except NotReadyError:  # its device has just failed; others may work
                    is_first = True
                    continue
                began_at = time.monotonic()
                work = LocalWork(job, files, listener, waiter.allowance_bytes, self._job_timeout_s)
                answer = await run_in(lane, worker, work)
                convert_s = time.monotonic() - began_at
            finally:
                self._release(lane, waiter)
            break
        if isinstance(answer, Refused):
            raise ProblemError(await asyncio.to_thread(problem_of, answer, job, files))
        # The total is measured here, and bounds the times of stages that the worker reports.
        seconds = {"queue": began_at - came_at, "convert": convert_s}
        told = {name: answer.seconds[name] for name in STAGES if name in answer.seconds}
        seconds |= {name: min(stage_s, convert_s) for name, stage_s in told.items()}
        return answer.model_copy(update={"seconds": seconds})

    async def _turn(self, waiter: _Waiter, *, first: bool) -> Lane:
        """Wait for a lane.

        Raises:
            NotReadyError: If all devices have failed.
        """
        self._queue.add(waiter.share, waiter, first=first)
        self._match()
        self._tell_places()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            is_given = waiter.turn.done() and not waiter.turn.cancelled()
            if is_given and waiter.turn.exception() is None:
                self._release(waiter.turn.result(), waiter)
            raise
        finally:
            self._queue.remove(waiter.share, waiter)

    def _match(self) -> None:
        """Give free lanes to the jobs whose turn it is, in order, if their memory is left."""
        while (waiter := self._queue.first()) is not None:
            if waiter.turn.cancelled():  # its task has not heard of it yet
                self._queue.remove(waiter.share, waiter)
                continue
            if self._lanes and all(lane.state.has_failed for lane in self._lanes):
                self._refuse_all()
                return
            free = [lane for lane in self._lanes if lane.is_free]
            waiter.allowance_bytes = self._memory.allowance(waiter.source_bytes)
            if not free or not self._memory.fits(waiter.allowance_bytes):
                return
            lane = min(free, key=lambda each: each.jobs)
            lane.take()
            self._memory.take(waiter.allowance_bytes)
            self._queue.begin().turn.set_result(lane)

    def _refuse_all(self) -> None:
        """Refuse all jobs that wait, since no device works."""
        problem = self._problem()
        wait_s = min(lane.state.retry_at for lane in self._lanes) - time.monotonic()
        for waiter in list(self._queue):
            self._queue.remove(waiter.share, waiter)
            if not waiter.turn.cancelled():
                error = NotReadyError(problem, retry_after_s=max(1, round(wait_s)))
                waiter.turn.set_exception(error)

    def _problem(self) -> str:
        """Return why no device works."""
        problems = (lane.state.problem for lane in self._lanes if lane.state.problem)
        return next(problems, "No device works.")

    def _tell_places(self) -> None:
        """Tell the jobs that wait of their places soon, and again while any wait."""

        def tell() -> None:
            self._telling = None
            for place, waiter in enumerate(self._queue.in_order(), 1):
                waiter.listener.waits(place)
            self._tell_places()

        if self._telling is None and len(self._queue):
            self._telling = _loop().call_later(_TELL_S, tell)

    def _release(self, lane: Lane, waiter: _Waiter) -> None:
        """Let the next job have a lane and the memory."""
        lane.release()
        self._queue.end(waiter.share)
        self._memory.give_back(waiter.allowance_bytes)
        self._match()

    def _add_lanes(self, devices: list[str]) -> list[Lane]:
        added = [Lane(device, self._forking, self._on_change) for device in devices]
        self._lanes += added
        self._memory.lanes = len(self._lanes)
        return added

    def _on_change(self) -> None:
        """Go on when a lane can take a job, or cannot any more."""
        if not self._is_surveyed and self._lanes[0].state.facts:
            for lane in self._survey():
                lane.start()
        news, self._news = self._news, asyncio.Event()
        news.set()
        self._match()

    def _survey(self) -> list[Lane]:
        """Add the lanes that the first worker makes possible, and return them."""
        self._is_surveyed = True
        first, *more = lanes_after_survey(self._device, self._lanes[0].state.facts, self._cpu_lanes)
        self._lanes[0].device = first
        return self._add_lanes(more)
