"""Runs jobs in tasks: each to its end, or until it is stopped, suspended or left to others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import structlog

from convlast.jobs import JobVerb
from service.cancellation import completed
from service.errors import InternalError
from service.jobs.entry import JobEntry
from service.jobs.others import Others, TakenError
from service.jobs.records import Outcome
from service.jobs.running.attempts import Attempts
from service.jobs.running.endings import Ended, SuspendedError, conclude
from service.jobs.shared_folder import SharedFolder
from service.jobs.table import JobTable
from service.jobs.tracing.job_trace import JobTrace
from service.jobs.tracing.spans import traced
from service.problems import Problem
from service.threads import RECORDING, REMOVING

_log = structlog.get_logger()


@dataclass(frozen=True)
class Queueing:
    """How jobs wait for their turn.

    Attributes:
        estimate_s: Returns how long a job at this place of the queue will probably wait.
        place: Holds a durable job's place for its client, while it waits or runs.
    """

    estimate_s: Callable[[int], float]
    place: Callable[[str], AbstractContextManager[None]]


class Runs:
    """The tasks of all jobs that are here. Its methods belong to the event loop."""

    def __init__(
        self,
        table: JobTable,
        others: Others,
        attempts: Attempts,
        *,
        place: Callable[[str], AbstractContextManager[None]],
        max_bytes: int,
    ) -> None:
        """Set up.

        Args:
            table: All jobs.
            others: The services that share the store.
            attempts: Runs a job.
            place: Holds a durable job's place for its client, while it waits or runs.
            max_bytes: The size of the store.
        """
        self._table, self._others, self._attempts = table, others, attempts
        self._place, self._max_bytes = place, max_bytes
        self.on_end: Callable[[JobVerb, Outcome], None] = lambda _verb, _outcome: None
        """Called with the outcome of each job."""
        self.trace_of: Callable[[str | None, dict[str, Any]], JobTrace] = JobTrace.of
        """Begins the trace of a job, from its request's span and facts about it."""

    def start(self, entry: JobEntry) -> None:
        """Run a job in a task."""
        entry.task = asyncio.create_task(self._run(entry))
        if entry.is_durable:
            self.hold_place(entry)

    def hold_place(self, entry: JobEntry) -> None:
        """Hold the place of a durable job until it is done."""
        held = ExitStack()
        held.enter_context(self._place(entry.accepted.share))
        if entry.task is not None:
            entry.task.add_done_callback(lambda _: held.close())

    async def leave(self, entry: JobEntry) -> None:
        """Note that a request does not wait any more; a job that nobody wants is stopped."""
        entry.waiters -= 1
        if entry.outcome is not None:
            await REMOVING.run(entry.release)
        else:
            await self._stop_if_unwanted(entry)

    async def _stop_if_unwanted(self, entry: JobEntry) -> None:
        if entry.waiters <= 0 and not entry.is_durable and entry.outcome is None:
            await self.stop(entry)

    async def stop(self, entry: JobEntry) -> None:
        """Stop a job, and wait until its process is gone."""
        entry.is_ending = True
        if entry.task is not None:
            await completed(_end(entry.task))

    async def hand_over(self, entry: JobEntry) -> None:
        """Let another service go on with a job that is suspended, if there is one."""
        if entry.is_durable and await self._others.hand_over(entry):
            await self._table.release(entry)

    async def _run(self, entry: JobEntry) -> None:
        """Run a job to its end; if this is cancelled, the job is, or is suspended."""
        with traced(entry, self.trace_of):
            try:
                await self._run_to_its_end(entry)
            except Exception as error:
                _log.error("a job cannot be ended", exc_info=error)
                problem = Problem.of(InternalError("The job cannot be ended."))
                entry.ends(Ended("failed", problem).outcome(entry, ""), problem)

    async def _run_to_its_end(self, entry: JobEntry) -> None:
        try:
            ended = await self._attempts.run(entry)
        except asyncio.CancelledError:
            await completed(self._stopped(entry))
        except TakenError:
            await completed(self._yield(entry))
        else:
            await completed(self._end(entry, ended))

    async def _stopped(self, entry: JobEntry) -> None:
        """Note that the process of a job is gone, which was cancelled or suspended."""
        if entry.is_suspended:
            await self.hand_over(entry)
            await REMOVING.run(entry.folder.remove)
        else:
            await self._end(entry, Ended.cancelled())

    async def _yield(self, entry: JobEntry) -> None:
        """Leave a job to another service, which has begun it."""
        await self._table.release(entry)
        self._others.follow(entry)
        await REMOVING.run(entry.folder.remove)

    async def _end(self, entry: JobEntry, ended: Ended) -> None:
        """Note how a job has ended, and keep it or forget it."""
        entry.is_ending = True
        try:
            outcome, problem = await conclude(entry, ended, self._others.journal, self._max_bytes)
        except SuspendedError:
            await REMOVING.run(entry.folder.remove)
            return
        # A result that fits into the store must not be lost because its checkpoint does not.
        is_too_large = outcome.file_bytes + entry.accepted.bytes > self._max_bytes
        if outcome.state == "cancelled" or is_too_large:
            await self._table.let_input_go(entry)
        await RECORDING.run(entry.folder.drop_upload)
        if not entry.is_kept:
            await self._table.drop(entry)
        elif await self._others.keeps(entry):
            entry.is_elsewhere = True
            await self._table.release(entry)
        else:
            self._table.keep(entry, outcome)
        if outcome.files and entry.waiters and not entry.is_kept:
            # Nothing is awaited from here on, so that exactly these clients are told.
            entry.shared = SharedFolder(entry.folder, entry.waiters)
        else:
            await REMOVING.run(entry.folder.remove)
        self.on_end(entry.accepted.verb, outcome)
        entry.ends(outcome, problem)
        await self._table.make_room()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end."""
    await asyncio.sleep(0)  # a task that is cancelled before its first step never cleans up
    task.cancel()
    await asyncio.wait({task})
