"""A lane: one device on which one job runs at a time, and the workers that wait for its next jobs.

Each job has a new process. The next worker starts to warm up as soon as a job has begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext

import structlog

from service.cancellation import Aside, completed
from service.errors import NotReadyError
from service.workers import Confinement, LaneHealth, WorkerEnd
from service.workers.lanes.device_state import DeviceState
from service.workers.lanes.worker_ends import WorkerEnds
from service.workers.messages import Failed, Probe, Ready, Refused
from service.workers.process import WorkerProcess

PROBE_INTERVAL_S = 5.0
PROBE_TIMEOUT_S = 30.0
WARM_UP_TIMEOUT_S = 180.0
MAX_PAUSE_S = 60.0
"""A device that fails is tried again after `PROBE_INTERVAL_S`, then after twice as long each time,
and at least this often."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Forking:
    """What all workers of a kind are forked with.

    Attributes:
        context: The fork server.
        task: The dotted name of the module that does the work.
        confinement: The limits of each worker.
        warm: How many warm workers wait in each lane.
        logged: What has been logged of the devices and the sandbox; each text is logged once.
    """

    context: ForkServerContext
    task: str
    confinement: Confinement
    warm: int = 1
    logged: set[tuple[str, str]] = field(default_factory=set)


class Lane:
    """Keeps the next workers of one device warm, and probes the device between jobs."""

    def __init__(self, device: str, forking: Forking, changed: Callable[[], None]) -> None:
        """Set up the lane without starting a worker.

        Args:
            device: The device to use.
            forking: How workers are started.
            changed: Called when the lane can take a job, and when its device has failed.
        """
        self.device = device
        self._forking, self._changed = forking, changed
        self.is_taken = False
        """Whether a job has this lane."""
        self.jobs = 0
        """How many jobs had it."""
        self.state = DeviceState(device, forking.logged)
        self.worker_ends = WorkerEnds()
        self.aside = Aside()
        """What no job waits for, such as removing a folder; `stop` does."""
        self._idle: deque[WorkerProcess] = deque()
        self._taker: asyncio.Future[WorkerProcess] | None = None
        self._wake = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_free(self) -> bool:
        """Whether it can take a job now."""
        has_worker = bool(self._idle) or not self._forking.warm
        return has_worker and self.state.problem is None and not self.is_taken

    def health(self) -> LaneHealth:
        """Return the health of this lane."""
        state = self.state
        since_s = state.since_probe_s
        is_fresh = since_s is not None and since_s < 2 * PROBE_INTERVAL_S + PROBE_TIMEOUT_S
        is_ready = state.problem is None and (is_fresh or not self._forking.warm)
        return LaneHealth(
            device=state.name,
            gpu=state.gpu,
            ready=self.is_taken or is_ready,
            busy=self.is_taken,
            jobs=self.jobs,
            problem=state.problem,
            failures=state.failures,
            worker_starts=self.worker_ends.starts,
            worker_ends=self.worker_ends.by_cause(),
        )

    def start(self) -> None:
        """Start to prepare the first worker, and return at once."""
        self._keeper = asyncio.create_task(self._keep_warm())

    async def stop(self) -> None:
        """End the idle workers."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._discard()
        await completed(self.aside.done())

    async def check(self) -> None:
        """Start one worker and end it, to check that the device works.

        Raises:
            ConvlastError: If it does not.
        """
        try:
            self._idle.append(await self._start_worker())
        finally:
            await self.stop()

    def take(self) -> None:
        """Give this lane to a job."""
        self.is_taken = True

    def release(self) -> None:
        """Let the next job have this lane."""
        self.is_taken = False
        self._wake.set()

    async def take_worker(self) -> WorkerProcess:
        """Return a warm worker for the job that has this lane, and prepare the next one.

        Raises:
            NotReadyError: If there was none, and the device has failed.
        """
        self._wake.set()
        while self._idle:
            worker = self._idle.popleft()
            if worker.can_work():
                return worker
            self._end(worker, "died-idle")
        if self.state.problem is not None:
            raise NotReadyError(self.state.problem)
        taker: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._taker = taker
        try:
            await asyncio.wait({taker})
        except asyncio.CancelledError:
            if taker.done() and taker.exception() is None:
                self._idle.append(taker.result())
            raise
        finally:
            self._taker = None
            taker.cancel()
        return taker.result()

    def distrust(self) -> None:
        """End the idle workers, since a job has lost the device: new ones have to find it."""
        self._discard()
        self._wake.set()

    async def _keep_warm(self) -> None:
        """Keep workers warm, and probe the device regularly between jobs."""
        pause_s = PROBE_INTERVAL_S
        while True:
            self._wake.clear()
            try:
                await self._fill()
                if not self.is_taken:
                    await self._probe_idle()
                    await self._fill()  # in place of workers that have ended
            # This task must survive every error: without it no worker is kept warm, and the
            # service is never ready again. A fork server that was killed, for example, is
            # started again.
            except Exception as error:
                self.state.fail(error, pause_s)
                self._give_up()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)
                continue
            pause_s = PROBE_INTERVAL_S
            try:
                async with asyncio.timeout(PROBE_INTERVAL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _fill(self) -> None:
        """Start workers until enough wait, and one for a job that has found none."""
        while self._taker is not None or len(self._idle) < self._forking.warm or self.state.problem:
            self._give(await self._start_worker())

    async def _start_worker(self) -> WorkerProcess:
        """Start a worker, and wait until it is warm."""
        forking = self._forking
        worker = await WorkerProcess.start(
            forking.context, forking.task, self.device, forking.confinement
        )
        self.worker_ends.starts += 1
        try:
            await self._expect_ready(worker, WARM_UP_TIMEOUT_S)
        except asyncio.CancelledError:
            self._end(worker, "dismissed")
            raise
        except BaseException:
            self._end(worker, "no-warm-up")
            raise
        return worker

    async def _probe_idle(self) -> None:
        """Probe the device by each idle worker; a job may take the others meanwhile."""
        for _ in range(len(self._idle)):
            if not self._idle or self.is_taken:
                return
            worker = self._idle.popleft()
            if not worker.can_work():
                self._end(worker, "died-idle")
                continue
            try:
                await self._expect_ready(worker, PROBE_TIMEOUT_S, Probe())
            except asyncio.CancelledError:
                self._end(worker, "dismissed")
                raise
            except BaseException:
                self._end(worker, "no-probe")
                raise
            self._give(worker)

    def _give(self, worker: WorkerProcess) -> None:
        """Give a warm worker to the job that waits for one, or let it wait."""
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(worker)
            self._taker = None
        elif self._forking.warm:
            self._idle.append(worker)
        else:
            self._end(worker, "dismissed")
        self._changed()

    def _give_up(self) -> None:
        """End the idle workers of a device that has failed, and refuse the job that waits."""
        self._discard()
        if self._taker is not None and not self._taker.done():
            self._taker.set_exception(NotReadyError(self.state.problem or "The device has failed."))
        self._changed()

    async def _expect_ready(
        self, worker: WorkerProcess, timeout_s: float, question: Probe | None = None
    ) -> None:
        """Wait until a worker reports that its device has answered."""
        try:
            async with asyncio.timeout(timeout_s):
                if question is not None:
                    await worker.say(question)
                event = await anext(worker.events())
        except TimeoutError:
            raise NotReadyError(f"The device has not answered for {timeout_s:g} s.") from None
        if not isinstance(event, Ready):
            if isinstance(event, Failed):
                _log.error("warm-up failed", device=self.state.name, traceback=event.traceback)
            why = event.detail if isinstance(event, Refused) else "The warm-up failed."
            raise NotReadyError(why)
        self.state.note(event, sandbox_required=self._forking.confinement.is_required)

    def _discard(self) -> None:
        """End the idle workers."""
        while self._idle:
            self._end(self._idle.popleft(), "dismissed")

    def _end(self, worker: WorkerProcess, end: WorkerEnd) -> None:
        """Count a worker without a job, end it, and remove its folders."""

        async def end_and_clear() -> None:
            await worker.end()
            await worker.clear()

        self.worker_ends.add(end)
        self.aside.do(end_and_clear())
