"""Workers on this machine: a new process for each job, forked from one that has imported torch.

That process is the fork server of `multiprocessing`. It starts with the first worker, imports the
task's module, uses no device, and forks. The service process never imports torch.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import structlog

from convlast.errors import ConvlastError
from convlast.progress import Progress
from convlast.removal import remove_tree
from service.cancellation import completed
from service.errors import InternalError, NotReadyError, TimedOutError, WorkerCrashedError
from service.problems import WORKER_CODES, Problem, ProblemError
from service.sandbox.wall import Wall
from service.workers import (
    STAGES,
    Confinement,
    Finished,
    Health,
    Job,
    child,
    known_trouble,
)
from service.workers.messages import Failed, Probe, Ready, Refused, Run, Stage
from service.workers.process import WorkerProcess
from service.workers.results import read_report

FREEZING = "service.workers.freezing"
"""Imported by the fork server only, as its last module."""

PROBE_INTERVAL_S = 5.0
PROBE_TIMEOUT_S = 30.0
WARM_UP_TIMEOUT_S = 180.0

_log = structlog.get_logger()


class LocalWorkers:
    """Runs jobs one by one, first come first served, and keeps the next worker warm."""

    def __init__(
        self, *, task: str, device: str, job_timeout_s: float, confinement: Confinement
    ) -> None:
        """Set up the workers without starting any.

        Args:
            task: The dotted name of the module that does the work.
            device: The device to use.
            job_timeout_s: Seconds after which a job is stopped.
            confinement: The limits of each worker.
        """
        self._confinement = confinement
        self._task, self._device, self._job_timeout_s = task, device, job_timeout_s
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([task, child.__name__, FREEZING])
        self._turn = asyncio.Lock()
        self._next: WorkerProcess | None = None
        self._used = asyncio.Event()
        self._busy = False
        self._probed_at: float | None = None
        self._facts: dict[str, Any] = {}
        self._walls: list[Wall] = []
        self._problem: str | None = "The first worker is warming up."
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to prepare the first worker, and return at once."""
        self._keeper = asyncio.create_task(self._keep_one_warm())

    async def check(self) -> None:
        """Start one worker and end it, to check that the device works.

        Raises:
            ConvlastError: If it does not.
        """
        try:
            await self._warm_worker()
        finally:
            await self._discard()

    async def stop(self) -> None:
        """End the idle worker; a running job ends with the task that waits for it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._discard()

    def health(self) -> Health:
        """Return the health of the workers, without waiting."""
        since_s = None if self._probed_at is None else time.monotonic() - self._probed_at
        is_fresh = since_s is not None and since_s < 2 * PROBE_INTERVAL_S + PROBE_TIMEOUT_S
        return Health(
            ready=self._busy or (self._problem is None and is_fresh),
            busy=self._busy,
            since_probe_s=None if since_s is None else round(since_s, 3),
            facts=self._facts,
            walls=self._walls,
            problem=self._problem,
        )

    async def run(self, job: Job, progress: Progress) -> Finished:
        """Run a job when its turn comes; cancelling this stops the job.

        Raises:
            ConvlastError: If the job ended without an answer.
            ProblemError: If the job was refused.
        """
        came_at = time.monotonic()
        async with self._turn:
            worker = await self._warm_worker()
            self._next, self._busy = None, True
            began_at = time.monotonic()
            try:
                moved = await completed(asyncio.to_thread(_move_in, job, worker.folder))
                async with asyncio.timeout(self._job_timeout_s):
                    answer = await worker.answer_within_memory(
                        self._answer(worker, moved, progress), self._memory_bytes(moved)
                    )
            except TimeoutError:
                raise TimedOutError(
                    f"The job was stopped after {self._job_timeout_s:g} s.",
                    remedy="Raise CONVLAST_JOB_TIMEOUT_S, or choose a cheaper smoke.",
                ) from None
            finally:
                # Not to be cancelled: if the client disconnects now, its files would be left in the
                # worker's folder.
                await completed(self._take_back(worker, job))
        convert_s = time.monotonic() - began_at
        if isinstance(answer, Refused):
            raise ProblemError(await asyncio.to_thread(_problem, answer, job))
        # The total is measured here, and bounds the times of stages that the worker reports.
        seconds = {"queue": began_at - came_at, "convert": convert_s}
        told = {name: answer.seconds[name] for name in STAGES if name in answer.seconds}
        seconds |= {name: min(stage_s, convert_s) for name, stage_s in told.items()}
        return answer.model_copy(update={"seconds": seconds})

    async def _take_back(self, worker: WorkerProcess, job: Job) -> None:
        """End a worker that has run a job, and move the job's files back."""
        try:
            await worker.end()
            await asyncio.to_thread(_move_back, job, worker.folder)
        finally:
            self._busy = False
            self._used.set()

    def _memory_bytes(self, job: Job) -> int:
        """Return the memory limit for a job: on a tmpfs, its mapped files count as memory too."""
        return self._confinement.max_memory_bytes + 3 * job.source.stat().st_size

    async def _answer(
        self, worker: WorkerProcess, job: Job, progress: Progress
    ) -> Finished | Refused:
        """Send the job to the worker, and wait for its answer."""
        await worker.say(Run(job=job))
        async for event in worker.events():
            if isinstance(event, Stage):
                progress(event.name, event.done, event.total)
            elif isinstance(event, Finished | Refused):
                return event
            elif isinstance(event, Failed):
                _log.error("job failed", traceback=event.traceback)
                raise InternalError("The job failed.")
            else:
                raise WorkerCrashedError.nonsense()
        raise WorkerCrashedError("The process of the job sent no answer.")

    async def _keep_one_warm(self) -> None:
        """Keep a warm worker between jobs, and probe its device regularly."""
        while True:
            async with self._turn:
                try:
                    worker = await self._warm_worker()
                    await self._expect_ready(worker, PROBE_TIMEOUT_S, Probe())
                # This task must survive every error: without it no worker is kept warm, and the
                # service is never ready again. A fork server that was killed, for example, is
                # started again.
                except Exception as error:
                    # Messages of the system may contain a path, so they are only logged.
                    is_ours = isinstance(error, ConvlastError)
                    self._problem = str(error) if is_ours else "No worker could be started."
                    _log.warning("no worker is ready", problem=str(error))
                    await self._discard()
            self._used.clear()
            try:
                async with asyncio.timeout(PROBE_INTERVAL_S):
                    await self._used.wait()
            except TimeoutError:
                pass

    async def _warm_worker(self) -> WorkerProcess:
        """Return the idle worker, or start one if there is none or it has died."""
        if self._next is not None and not self._next.can_work():
            await self._discard()
        if self._next is None:
            self._next = await WorkerProcess.start(
                self._context, self._task, self._device, self._confinement
            )
            try:
                await self._expect_ready(self._next, WARM_UP_TIMEOUT_S)
            except BaseException:
                await self._discard()
                raise
        return self._next

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
            self._problem = f"The device has not answered for {timeout_s:g} s."
            raise NotReadyError(self._problem) from None
        except ConvlastError as error:
            self._problem = str(error)
            raise
        if not isinstance(event, Ready):
            self._problem = event.detail if isinstance(event, Refused) else "The warm-up failed."
            if isinstance(event, Failed):
                _log.error("warm-up failed", traceback=event.traceback)
            raise NotReadyError(self._problem)
        self._problem, self._probed_at = None, time.monotonic()
        self._note_facts(event.facts)
        self._note_walls(event.walls)

    def _note_facts(self, facts: dict[str, Any]) -> None:
        """Keep the facts about the device, and log each new trouble."""
        for trouble in known_trouble(facts):
            if trouble not in known_trouble(self._facts):
                _log.warning("the device has a known trouble", trouble=trouble)
        self._facts = facts

    def _note_walls(self, walls: list[Wall]) -> None:
        """Keep the state of the sandbox, and log missing walls when it changes.

        Raises:
            NotReadyError: If a wall is missing and the sandbox is required.
        """
        missing = [wall for wall in walls if not wall.held]
        if walls != self._walls:
            self._walls = walls
            for wall in missing:
                _log.warning("a wall of the sandbox is missing", wall=wall.name, why=wall.detail)
        if missing and self._confinement.is_required:
            self._problem = f"The sandbox lacks {', '.join(wall.name for wall in missing)}."
            raise NotReadyError(
                self._problem, remedy="Unset CONVLAST_REQUIRE_SANDBOX to run jobs without it."
            )

    async def _discard(self) -> None:
        """End the idle worker, if there is one."""
        worker, self._next = self._next, None
        if worker is not None:
            await completed(_end(worker))


async def _end(worker: WorkerProcess) -> None:
    """End a worker without a job, and remove its folder."""
    await worker.end()
    await asyncio.to_thread(remove_tree, worker.folder)


def _move_in(job: Job, folder: Path) -> Job:
    """Move a job's folder into the worker's, and return the job with its new paths."""
    moved = folder / job.id
    job.folder.rename(moved)
    return job.model_copy(
        update={"folder": moved, "source": moved / job.source.relative_to(job.folder)}
    )


def _move_back(job: Job, folder: Path) -> None:
    """Move a job's folder back, and remove the worker's."""
    moved = folder / job.id
    if moved.is_dir() and not moved.is_symlink():
        moved.rename(job.folder)
    remove_tree(folder)


def _problem(refused: Refused, job: Job) -> Problem:
    """Turn a refusal into a problem; a code that this verb does not have is an internal error."""
    if refused.code not in WORKER_CODES[job.verb]:
        _log.error("job refused with a bad code", code=refused.code)
        return Problem.of(InternalError("The job failed."))
    report = read_report(job.folder) if refused.has_report else None
    return Problem(refused.code, refused.detail, refused.members, report)
