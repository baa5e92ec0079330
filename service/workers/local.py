"""Workers on this machine: a new process for each job, forked from one that has imported torch.

That process is the fork server of `multiprocessing`. It starts with the first worker, imports the
task's module, uses no device, and forks. The service process never imports torch.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from dataclasses import dataclass
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
from service.workers.lanes.lane import Forking, Lane
from service.workers.lanes.memory_budget import MemoryBudget
from service.workers.lanes.turns import Turns
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


@dataclass(frozen=True)
class _Place:
    """A lane that a job has, and the memory that it may use."""

    lane: Lane
    allowance_bytes: int


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
        self._turns = Turns(self._offer, self._take_back)
        self._memory = budget.pool(self._turns.match)
        self._lanes: list[Lane] = []
        self._is_surveyed = False
        self._news = asyncio.Event()
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
        self._turns.stop()
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
            waiting=len(self._turns),
            known_trouble=list(dict.fromkeys(troubles)),
        )

    async def run(self, job: Job, files: JobFiles, listener: Listener, *, share: str) -> Finished:
        """Run a job when its turn comes; cancelling this stops the job.

        Raises:
            ConvlastError: If the job ended without an answer.
            ProblemError: If the job was refused.
        """
        came_at = time.monotonic()
        source_bytes = files.source.stat().st_size
        is_first = False
        while True:
            turn = self._turns.turn(share, listener, source_bytes=source_bytes, first=is_first)
            async with turn as place:
                try:
                    worker = await place.lane.take_worker()
                except NotReadyError:  # its device has just failed; others may work
                    is_first = True
                    continue
                began_at = time.monotonic()
                work = LocalWork(job, files, listener, place.allowance_bytes, self._job_timeout_s)
                answer = await run_in(place.lane, worker, work)
                convert_s = time.monotonic() - began_at
            break
        if isinstance(answer, Refused):
            raise ProblemError(await asyncio.to_thread(problem_of, answer, job, files))
        # The total is measured here, and bounds the times of stages that the worker reports.
        seconds = {"queue": began_at - came_at, "convert": convert_s}
        told = {name: answer.seconds[name] for name in STAGES if name in answer.seconds}
        seconds |= {name: min(stage_s, convert_s) for name, stage_s in told.items()}
        return answer.model_copy(update={"seconds": seconds})

    def _offer(self, source_bytes: int) -> _Place | None:
        """Take a free lane for a job, if there is one and its memory is left.

        Raises:
            NotReadyError: If all devices have failed.
        """
        if self._lanes and all(lane.state.has_failed for lane in self._lanes):
            wait_s = min(lane.state.retry_at for lane in self._lanes) - time.monotonic()
            raise NotReadyError(self._problem(), retry_after_s=max(1, round(wait_s)))
        free = [lane for lane in self._lanes if lane.is_free]
        allowance_bytes = self._memory.allowance(source_bytes)
        if not free or not self._memory.fits(allowance_bytes):
            return None
        lane = min(free, key=lambda each: each.jobs)
        lane.take()
        self._memory.take(allowance_bytes)
        return _Place(lane, allowance_bytes)

    def _take_back(self, place: _Place) -> None:
        """Let another job have the lane and the memory."""
        place.lane.release()
        self._memory.give_back(place.allowance_bytes)

    def _problem(self) -> str:
        """Return why no device works."""
        problems = (lane.state.problem for lane in self._lanes if lane.state.problem)
        return next(problems, "No device works.")

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
        self._turns.match()

    def _survey(self) -> list[Lane]:
        """Add the lanes that the first worker makes possible, and return them."""
        self._is_surveyed = True
        first, *more = lanes_after_survey(self._device, self._lanes[0].state.facts, self._cpu_lanes)
        self._lanes[0].device = first
        return self._add_lanes(more)
