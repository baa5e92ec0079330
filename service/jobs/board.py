"""All jobs, from their requests on: submitted, joined, cancelled, and resumed after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import cache, partial
from typing import Any
from weakref import WeakValueDictionary

import structlog

from convlast.jobs import JobState, JobVerb
from service.cancellation import completed
from service.errors import NotReadyError, full_disk_as_problem
from service.jobs.attempts import MOST_ATTEMPTS, Attempts
from service.jobs.endings import Ended, SuspendedError, conclude
from service.jobs.entry import JobEntry, SharedFolder
from service.jobs.identity import decisive, identify
from service.jobs.job_trace import JobTrace
from service.jobs.journal import Journal
from service.jobs.records import Outcome
from service.jobs.retention import CANCELLED, Retention
from service.jobs.spans import traced
from service.jobs.submission import Submission
from service.jobs.table import JobTable
from service.settings import Settings
from service.storage.workspace import JobFolder, Workspace
from service.threads import RECORDING, REMOVING
from service.workers import Workers

RUN_ANEW = frozenset(
    {*MOST_ATTEMPTS, "not-ready", "timed-out", "internal", "storage-full", "out-of-memory"}
)
"""The codes of failures that have nothing to do with the request: it is run again if it comes
again."""

_log = structlog.get_logger()


class Jobs:
    """All jobs. Its methods belong to the event loop."""

    def __init__(
        self,
        settings: Settings,
        workspace: Workspace,
        workers: Mapping[str, Workers],
        *,
        estimate_s: Callable[[int], float],
        place: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        """Read the jobs that an earlier run has left.

        Args:
            settings: The settings.
            workspace: The work folder.
            workers: The workers for each verb.
            estimate_s: Returns how long a job at this place of the queue will probably wait.
            place: Holds a durable job's place for its client, while it waits or runs.
        """
        self._workspace, self._workers = workspace, workers
        self._store_bytes = settings.store_bytes
        self._place, self._inputs = place, workspace.inputs
        self._journal = Journal(workspace.store_folder)
        self._attempts = Attempts(settings, self._journal, workers, estimate_s)
        retention = Retention(settings.store_bytes, settings.store_age_s)
        self.table = JobTable(self._journal, self._inputs, retention)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._decisive = cache(partial(decisive, settings))
        self._is_draining = False
        self.on_end: Callable[[JobVerb, Outcome], None] = lambda _verb, _outcome: None
        """Called with the outcome of each job."""
        self.trace_of: Callable[[str | None, dict[str, Any]], JobTrace] = JobTrace.of
        """Begins the trace of a job, from its request's span and facts about it."""

    async def start(self) -> None:
        """Go on with the jobs that an earlier run has left, in the order in which they came."""
        for entry in sorted(self.table, key=lambda entry: entry.accepted.created_at):
            if entry.outcome is None:
                entry.folder = await asyncio.to_thread(self._workspace.new_job)
                entry.folder.count(entry.accepted.bytes)
                self._start(entry)

    async def submit(self, wanted: Submission) -> JobEntry:
        """Return the job of a request, new or not; the caller waits for it until it calls `leave`.

        Raises:
            NotReadyError: If no device works, so that the job has no id.
            StorageFullError: If a durable job cannot be written down.
        """
        kind = await self._workers[wanted.verb].kind()
        job_id = identify(
            wanted.owner,
            wanted.verb,
            wanted.source.filename,
            wanted.source.sha256,
            wanted.source.options,
            self._decisive(kind),
        )
        try:
            with full_disk_as_problem():
                return await completed(self._join(job_id, wanted))
        except asyncio.CancelledError:
            if wanted.entry is not None:
                await self.leave(wanted.entry)
            raise

    async def _join(self, job_id: str, wanted: Submission) -> JobEntry:
        """Find or make the job of a request."""
        lock = self._locks.setdefault(job_id, asyncio.Lock())
        async with lock:
            entry = self.table.get(job_id)
            if entry is not None and entry.is_ending and entry.task is not None:
                await asyncio.wait({entry.task})
                entry = self.table.get(job_id)
            if entry is not None and self._must_run_anew(entry):
                await self.table.drop(entry)
                entry = None
            if entry is None:
                await self.table.removed(job_id)
                return await self._make(job_id, wanted)
            await self._add_to(entry, wanted)
            return entry

    async def _add_to(self, entry: JobEntry, wanted: Submission) -> None:
        """Let one request more wait for a job."""
        # Counted first: the other clients may leave meanwhile.
        wanted.waits_for(entry)
        entry.is_kept |= wanted.is_kept
        if wanted.is_durable and entry.outcome is None and not entry.is_durable:
            try:
                await self._make_durable(entry, wanted.folder)
            except BaseException:
                await self.leave(entry)
                raise
            self._hold_place(entry)
        wanted.is_taken = True
        await REMOVING.run(wanted.folder.remove)

    async def _make(self, job_id: str, wanted: Submission) -> JobEntry:
        """Make a job, and start it."""
        entry = JobEntry(wanted.accepted(job_id))
        entry.folder, entry.source = wanted.folder, wanted.folder.upload
        entry.upload_s = wanted.upload_s
        if wanted.is_durable:
            await self._make_durable(entry, wanted.folder)
        elif wanted.source.is_held:
            self.table.hold_input(entry)
            entry.source = self._inputs.path(entry.input_key)
        entry.is_kept |= wanted.is_kept
        wanted.waits_for(entry)
        wanted.is_taken = True
        self.table.add(entry)
        if wanted.is_durable and self._is_draining:
            entry.suspend()
        else:
            self._start(entry)
        return entry

    async def _make_durable(self, entry: JobEntry, folder: JobFolder) -> None:
        """Write a job down with its checkpoint, so that it is finished whatever happens.

        Raises:
            OSError: If it cannot be written; then nothing is, and the job is as it was.
        """
        was_kept, was_held = entry.is_kept, entry.holds_input
        # Durable from here on: the job may run already, and end before all is written.
        entry.is_durable = entry.is_kept = True
        self.table.hold_input(entry)
        try:
            await RECORDING.run(self._inputs.keep, entry.input_key, folder.upload)
            await RECORDING.run(self._journal.accept, entry.accepted)
            if entry.attempts:
                await RECORDING.run(self._journal.claim, entry.id, entry.attempts)
        except BaseException:
            if not entry.is_ending:
                entry.is_durable, entry.is_kept = False, was_kept
                await RECORDING.run(self._journal.remove, entry.id)
                if not was_held:
                    await self.table.let_input_go(entry)
            raise
        entry.source = self._inputs.path(entry.input_key)

    def _start(self, entry: JobEntry) -> None:
        entry.task = asyncio.create_task(self._run(entry))
        if entry.is_durable:
            self._hold_place(entry)

    def _hold_place(self, entry: JobEntry) -> None:
        """Hold the place of a durable job until it is done."""
        held = ExitStack()
        held.enter_context(self._place(entry.accepted.share))
        if entry.task is not None:
            entry.task.add_done_callback(lambda _: held.close())

    async def _run(self, entry: JobEntry) -> None:
        """Run a job to its end; if this is cancelled, the job is, or is suspended."""
        with traced(entry, self.trace_of):
            try:
                ended = await self._attempts.run(entry)
            except asyncio.CancelledError:
                await completed(self._stopped(entry))
            else:
                await completed(self._end(entry, ended))

    async def _stopped(self, entry: JobEntry) -> None:
        """Note that the process of a job is gone, which was cancelled or suspended."""
        if entry.is_suspended:
            await REMOVING.run(entry.folder.remove)
        else:
            await self._end(entry, Ended.cancelled())

    async def _end(self, entry: JobEntry, ended: Ended) -> None:
        """Note how a job has ended, and keep it or forget it."""
        entry.is_ending = True
        try:
            outcome, problem = await conclude(entry, ended, self._journal, self._store_bytes)
        except SuspendedError:
            await REMOVING.run(entry.folder.remove)
            return
        # A result that fits into the store must not be lost because its checkpoint does not.
        is_too_large = outcome.file_bytes + entry.accepted.bytes > self._store_bytes
        if outcome.state == "cancelled" or is_too_large:
            await self.table.let_input_go(entry)
        await RECORDING.run(entry.folder.drop_upload)
        if entry.is_kept:
            self.table.keep(entry, outcome)
        else:
            await self.table.drop(entry)
        if outcome.files and entry.waiters and not entry.is_kept:
            # Nothing is awaited from here on, so that exactly these clients are told.
            entry.shared = SharedFolder(entry.folder, entry.waiters)
        else:
            await REMOVING.run(entry.folder.remove)
        self.on_end(entry.accepted.verb, outcome)
        entry.ends(outcome, problem)
        await self.table.make_room()

    def _must_run_anew(self, entry: JobEntry) -> bool:
        """Return whether the same request must not get what came of this job."""
        outcome = entry.outcome
        if outcome is None:
            return False
        is_passing = outcome.state == "cancelled" or outcome.code in RUN_ANEW
        return is_passing or not self.table.is_lasting(entry)

    async def leave(self, entry: JobEntry) -> None:
        """Note that a request does not wait any more; a job that nobody wants is stopped."""
        entry.waiters -= 1
        if entry.outcome is not None:
            await REMOVING.run(entry.release)
        else:
            await self._stop_if_unwanted(entry)

    async def _stop_if_unwanted(self, entry: JobEntry) -> None:
        if entry.waiters <= 0 and not entry.is_durable and entry.outcome is None:
            await self._stop(entry)

    async def _stop(self, entry: JobEntry) -> None:
        """Stop a job, and wait until its process is gone."""
        entry.is_ending = True
        if entry.task is not None:
            await completed(_end(entry.task))

    async def cancel(self, entry: JobEntry) -> JobState:
        """Cancel a job that waits or runs, and return its state, since it may end meanwhile.

        Its process is gone when this returns.

        Raises:
            NotReadyError: If the service is draining, and the job goes on afterwards.
        """
        if entry.is_suspended:
            raise NotReadyError("The service is draining: cancel the job when it is back.")
        await self._stop(entry)
        if not entry.is_kept:
            self.table.forget(entry, CANCELLED)
        return entry.state

    async def suspend_waiting(self) -> None:
        """Stop the durable jobs that have not begun; they go on when the service is back."""
        self._is_draining = True
        waiting = [each for each in self._live() if each.is_durable and each.state == "queued"]
        await self._suspend(waiting)

    async def stop(self) -> None:
        """Stop all jobs; the durable ones go on when the service is back."""
        live = self._live()
        await self._suspend([entry for entry in live if entry.is_durable])
        for entry in live:
            await self._stop(entry)

    async def _suspend(self, entries: list[JobEntry]) -> None:
        for entry in entries:
            entry.suspend()
        await asyncio.gather(*(self._stop(entry) for entry in entries))

    async def none_runs(self) -> None:
        """Wait until no durable job runs that is not suspended."""
        while tasks := {each.task for each in self._live() if each.task and each.is_durable}:
            await asyncio.wait(tasks)

    def _live(self) -> list[JobEntry]:
        return [entry for entry in self.table if not entry.has_ended]


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end."""
    await asyncio.sleep(0)  # a task that is cancelled before its first step never cleans up
    task.cancel()
    await asyncio.wait({task})
