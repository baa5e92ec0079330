"""Requests for jobs: each gets the job that is there already, or a new one."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from service.cancellation import completed
from service.errors import NotReadyError, full_disk_as_problem
from service.jobs.durability import Durability
from service.jobs.entry import JobEntry
from service.jobs.others import Others, TakenError
from service.jobs.running.attempts import RUN_ANEW
from service.jobs.running.runs import Runs
from service.jobs.submission import Submission
from service.jobs.table import JobTable
from service.threads import REMOVING, STORING


class Joining:
    """Finds or makes the jobs of requests. Its methods belong to the event loop."""

    def __init__(self, table: JobTable, others: Others, runs: Runs, durability: Durability) -> None:
        """Set up.

        Args:
            table: All jobs.
            others: The services that share the store.
            runs: Runs the jobs.
            durability: Writes them down.
        """
        self._table, self._others, self._runs = table, others, runs
        self._durability = durability
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.is_draining = False
        """Whether no durable job is begun any more."""

    async def join(self, job_id: str, wanted: Submission) -> JobEntry:
        """Return the job of a request, new or not; the caller waits for it until it leaves.

        Raises:
            NotReadyError: If another service got the same request at once, and nothing came of it.
            StorageFullError: If a durable job cannot be written down.
        """
        try:
            with full_disk_as_problem():
                return await completed(self._join(job_id, wanted))
        except asyncio.CancelledError:
            if wanted.entry is not None:
                await self._runs.leave(wanted.entry)
            raise

    async def _join(self, job_id: str, wanted: Submission) -> JobEntry:
        """Find or make the job of a request."""
        lock = self._locks.setdefault(job_id, asyncio.Lock())
        async with lock:
            try:
                return await self._join_here(job_id, wanted)
            except TakenError:
                entry = await self._others.latest(job_id)
                if entry is None:
                    raise NotReadyError("Another request for this job came at once.") from None
                await self._add_to(entry, wanted)
                return entry

    async def _join_here(self, job_id: str, wanted: Submission) -> JobEntry:
        """Find or make the job of a request.

        Raises:
            TakenError: If another service has got the same request meanwhile.
        """
        # Asked first: nothing may be awaited between a look at the job and joining it.
        run = await self._others.next_run(job_id) if wanted.is_stored else 0
        entry = self._table.get(job_id)
        if entry is not None and entry.is_ending and entry.task is not None:
            await asyncio.wait({entry.task})
            entry = self._table.get(job_id)
        if entry is None and wanted.is_stored:
            entry = await self._others.latest(job_id)
        if entry is not None and await self._must_run_anew(entry):
            await self._table.drop(entry)
            entry = None
        if entry is None:
            await self._table.removed(job_id)
            return await self._make(job_id, wanted, run)
        if wanted.is_stored and not entry.is_kept and entry.outcome is None:
            entry.accepted = entry.accepted.model_copy(update={"run": run})
        await self._add_to(entry, wanted)
        return entry

    async def _add_to(self, entry: JobEntry, wanted: Submission) -> None:
        """Let one request more wait for a job."""
        # Counted first: the other clients may leave meanwhile.
        wanted.waits_for(entry)
        entry.is_kept |= wanted.is_kept
        if wanted.is_durable and entry.outcome is None and not entry.is_durable:
            try:
                await self._durability.begin(entry, wanted.folder)
            except BaseException:
                await self._runs.leave(entry)
                raise
            self._runs.hold_place(entry)
        wanted.is_taken = True
        await REMOVING.run(wanted.folder.remove)

    async def _make(self, job_id: str, wanted: Submission, run: int) -> JobEntry:
        """Make a job, and start it."""
        accepted = wanted.accepted(job_id)
        entry = JobEntry(accepted.model_copy(update={"run": run}))
        entry.folder, entry.source = wanted.folder, wanted.folder.upload
        entry.upload_s = wanted.upload_s
        if wanted.is_durable:
            await self._durability.begin(entry, wanted.folder)
        elif wanted.source.is_held:
            self._table.hold_input(entry)
            entry.source = self._durability.inputs.path(entry.input_key)
        entry.is_kept |= wanted.is_kept
        wanted.waits_for(entry)
        wanted.is_taken = True
        self._table.add(entry)
        if wanted.is_durable and self.is_draining:
            entry.suspend()
            await self._runs.hand_over(entry)
        else:
            self._runs.start(entry)
        return entry

    async def _must_run_anew(self, entry: JobEntry) -> bool:
        """Return whether the same request must not get what came of this job."""
        outcome = entry.outcome
        if outcome is None:
            return False
        is_passing = outcome.state == "cancelled" or outcome.code in RUN_ANEW
        return is_passing or not await STORING.run(self._table.is_lasting, entry)
