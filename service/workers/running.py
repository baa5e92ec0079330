"""One job in one worker: its files moved in, its answer, its end, and its folder moved back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from service.cancellation import completed
from service.errors import InternalError, TimedOutError, WorkerCrashedError
from service.workers import Finished, Job, JobFiles, Listener
from service.workers.lanes.lane import Lane
from service.workers.lanes.worker_ends import end_with, end_without_answer
from service.workers.messages import Failed, LocalJob, Refused, Run, Stage
from service.workers.moving import move_back, move_in
from service.workers.process import WorkerProcess

_log = structlog.get_logger()


@dataclass(frozen=True)
class LocalWork:
    """A job, with what it may use.

    Attributes:
        job: What to do.
        files: Its files.
        listener: Hears how far it is.
        max_memory_bytes: Memory that its process may use.
        timeout_s: Seconds after which it is stopped.
    """

    job: Job
    files: JobFiles
    listener: Listener
    max_memory_bytes: int
    timeout_s: float


async def run_in(lane: Lane, worker: WorkerProcess, work: LocalWork) -> Finished | Refused:
    """Run a job in a worker, which ends with it.

    Raises:
        ConvlastError: If the job ended without an answer.
    """
    try:
        answer = await _run(lane, worker, work)
    except BaseException as error:
        lane.worker_ends.add(end_without_answer(error))
        raise
    lane.worker_ends.add(end := end_with(answer))
    if end == "device-lost":
        lane.distrust()
    return answer


async def _run(lane: Lane, worker: WorkerProcess, work: LocalWork) -> Finished | Refused:
    """Give the job to the worker, and return its answer once the process is gone.

    Raises:
        ConvlastError: If the job ended without an answer.
    """
    lane.jobs += 1
    try:
        moved = await completed(asyncio.to_thread(move_in, work.job, work.files, worker.folders))
        await work.listener.begins(lane.state.name)
        _log.info("job begins", verb=work.job.verb, device=lane.state.name)
        async with asyncio.timeout(work.timeout_s):
            return await worker.answer_within_memory(
                _answer(worker, moved, work.listener), work.max_memory_bytes
            )
    except TimeoutError:
        raise TimedOutError(
            f"The job was stopped after {work.timeout_s:g} s.",
            remedy="Raise CONVLAST_JOB_TIMEOUT_S, or choose a cheaper smoke.",
        ) from None
    finally:
        # Not to be cancelled: if the client disconnects now, its folder would be left in the
        # worker's.
        await completed(_take_back(lane, worker, work))


async def _answer(worker: WorkerProcess, job: LocalJob, listener: Listener) -> Finished | Refused:
    """Send the job to the worker, and wait for its answer."""
    await worker.say(Run(job=job))
    async for event in worker.events():
        if isinstance(event, Stage):
            listener.goes_on(event.name, event.done, event.total)
        elif isinstance(event, Finished | Refused):
            return event
        elif isinstance(event, Failed):
            _log.error("job failed", traceback=event.traceback)
            raise InternalError("The job failed.")
        else:
            raise WorkerCrashedError.nonsense()
    raise WorkerCrashedError("The process of the job sent no answer.")


async def _take_back(lane: Lane, worker: WorkerProcess, work: LocalWork) -> None:
    """End a worker that has run a job, move the job's folder back, and clear its own later.

    The process is gone before the folder is moved: one that was killed may still be in a system
    call, and write.
    """
    try:
        await worker.end()
        await asyncio.to_thread(move_back, work.job, work.files, worker.folders)
    finally:
        lane.aside.do(worker.clear())
