"""All jobs, from their requests on: submitted, joined, cancelled, and resumed after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import structlog

from convlast.errors import StoreError
from convlast.jobs import JobState
from service.access.signing import SigningKey
from service.errors import NotFoundError, NotReadyError
from service.jobs.durability import Durability
from service.jobs.entry import JobEntry
from service.jobs.identity import decisive, identify
from service.jobs.joining import Joining
from service.jobs.journal import Journal, Recorded
from service.jobs.listing import Page, Wanted, page_of
from service.jobs.others import Nobody, Others
from service.jobs.records import Accepted
from service.jobs.retention import CANCELLED, Retention
from service.jobs.running.attempts import Attempts
from service.jobs.running.runs import Queueing, Runs
from service.jobs.submission import Submission
from service.jobs.table import JobTable
from service.settings import Settings
from service.storage.folder import Folder
from service.storage.workspace import Workspace
from service.threads import RECORDING, REMOVING
from service.transfers import Transfers
from service.workers import Workers

WRITTEN_S = 2.0
"""How long a request waits to hear whether a job has ended, if its store is away."""

STOP_S = 3.0
"""How long the end of a service waits for a store that it shares with others."""

_TOLD = 20
_log = structlog.get_logger()


class Jobs:
    """All jobs. Its methods belong to the event loop."""

    def __init__(
        self,
        settings: Settings,
        workspace: Workspace,
        workers: Mapping[str, Workers],
        transfers: Transfers,
        queueing: Queueing,
        others: Others | None = None,
    ) -> None:
        """Read the jobs that an earlier run has left.

        Args:
            settings: The settings.
            workspace: The work folder.
            workers: The workers for each verb.
            transfers: Fetches checkpoints, and delivers results.
            queueing: How jobs wait.
            others: The services that share a store with this one, if it has no store of its own.

        Raises:
            SettingsError: If the key that signs statements cannot be used.
        """
        self._workspace, self._workers = workspace, workers
        self._inputs = workspace.inputs
        self._others = others or Nobody(Journal(Folder(workspace.store_folder)))
        journal = self._others.journal
        retention = Retention(settings.store_bytes, settings.store_age_s)
        self.table = JobTable(journal, self._inputs, retention, self._others.left_here())
        self.signing_key = SigningKey.of(settings)
        attempts = Attempts(
            settings, journal, workers, transfers, queueing.estimate_s, self.signing_key
        )
        self.runs = Runs(
            self.table, self._others, attempts, place=queueing.place, max_bytes=settings.store_bytes
        )
        durability = Durability(self.table, self._inputs, self._others)
        self._joining = Joining(self.table, self._others, self.runs, durability)
        self._decisive = cache(partial(decisive, settings))

    async def start(self) -> None:
        """Go on with the jobs that an earlier run has left, in the order in which they came."""
        for entry in sorted(self.table, key=lambda entry: entry.accepted.created_at):
            if entry.outcome is None:
                await self._resume(entry)
                self.runs.start(entry)
        await self._others.start(self)

    async def _resume(self, entry: JobEntry) -> None:
        """Prepare to go on with a job."""
        entry.folder = await asyncio.to_thread(self._workspace.new_job)
        entry.folder.count(entry.accepted.bytes)

    async def adopt(self, recorded: Recorded, bring: Callable[[Path], Awaitable[None]]) -> None:
        """Go on with a job that another service has left.

        Args:
            recorded: The job.
            bring: Writes its checkpoint to a new file.

        Raises:
            ConvlastError: If its checkpoint cannot be had now; it may be tried again.
            OSError: If its checkpoint cannot be written.
        """
        folder = await asyncio.to_thread(self._workspace.new_job)
        entry = self.table.adopt(recorded)
        entry.folder = folder
        folder.count(entry.accepted.bytes)
        try:
            if entry.holds_input and not entry.source.is_file():
                await bring(entry.folder.upload)
                await RECORDING.run(self._inputs.keep, entry.input_key, entry.folder.upload)
        except BaseException:
            await self.table.release(entry)
            self._others.follow(entry)  # for the clients that have found it here
            await REMOVING.run(folder.remove)
            raise
        if self.is_draining and entry.outcome is None:
            entry.suspend()
            await self.runs.hand_over(entry)
        if entry.has_ended:  # or was cancelled meanwhile
            await self.table.release(entry)
            await REMOVING.run(folder.remove)
        else:
            self.runs.start(entry)

    @property
    def is_draining(self) -> bool:
        """Whether no durable job is begun any more."""
        return self._joining.is_draining

    def has(self, name: str) -> bool:
        """Return whether a job that is stored is here, and has not ended."""
        return any(entry.accepted.name == name for entry in self.durable())

    def durable(self) -> list[JobEntry]:
        """Return the durable jobs that are here and have not ended."""
        return [each for each in self.table if each.is_durable and each.outcome is None]

    async def find(self, job_id: str, owner: str) -> JobEntry:
        """Return a job of this owner.

        Raises:
            NotFoundError: If there is no such job, or it is another owner's.
            GoneError: If it was removed, or has expired.
        """
        here = self.table.get(job_id)
        if here is None or not here.is_kept:
            # A passing job may run here while the store has an earlier one with its id.
            entry = await self._others.find(job_id, owner)
        else:
            is_ending = here.is_ending and here.is_durable
            entry = await self._written(here, owner) if is_ending else None
        return entry or self.table.find(job_id, owner)

    async def _written(self, here: JobEntry, owner: str) -> JobEntry | None:
        """Return a job whose end the store has, where others read it: perhaps before it is here."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(WRITTEN_S):
                there = await self._others.find(here.id, owner)
            if there is not None and there.outcome and there.accepted.name == here.accepted.name:
                return there
        return None

    async def page(self, wanted: Wanted) -> Page:
        """Return a page of the jobs of an owner, see `page_of`."""
        return await page_of(self.table, self._others, wanted)

    async def remove(self, entry: JobEntry) -> None:
        """Remove a job that has ended, and its files."""
        if entry.is_elsewhere:
            await self._others.remove(entry)
        else:
            await self.table.remove(entry)

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
            wanted.source.content,
            wanted.source.options,
            self._decisive(kind, self.signing_key.keyid if wanted.verb == "convert" else None),
        )
        return await self._joining.join(job_id, wanted)

    async def bring_input(self, owner: str, sha256: str, path: Path) -> Accepted:
        """Write a checkpoint that the store keeps for this owner to a new file.

        Raises:
            NotFoundError: If it is not kept.
        """
        if (accepted := await self._others.bring(owner, sha256, path)) is None:
            raise NotFoundError("The service does not have these bytes.", remedy="Upload them.")
        return accepted

    async def leave(self, entry: JobEntry) -> None:
        """Note that a request does not wait any more; a job that nobody wants is stopped."""
        await self.runs.leave(entry)

    async def cancel(self, entry: JobEntry) -> JobState:
        """Cancel a job that waits or runs, and return its state, since it may end meanwhile.

        Its process is gone when this returns.

        Raises:
            NotReadyError: If the service is draining, and the job goes on afterwards.
        """
        if entry.is_elsewhere or entry.task is None:  # without a task, it is being taken over
            return await self._others.cancel(entry)
        if entry.is_suspended:
            raise NotReadyError("The service is draining: cancel the job when it is back.")
        await self.runs.stop(entry)
        if not entry.is_kept:
            self.table.forget(entry, CANCELLED)
        return entry.state

    async def suspend_waiting(self) -> None:
        """Stop the durable jobs that have not begun; they go on when the service is back."""
        self._joining.is_draining = True
        waiting = [each for each in self._live() if each.is_durable and each.state == "queued"]
        await self._suspend(waiting)

    async def stop(self) -> None:
        """Stop all jobs; the durable ones go on when the service is back, or at another one."""
        live = self._live()
        # A store that is away would keep this service from ending.
        breaking_off = asyncio.get_running_loop().call_later(STOP_S, self._others.break_off)
        await self._suspend([entry for entry in live if entry.is_durable])
        for entry in live:
            await self.runs.stop(entry)
        breaking_off.cancel()
        await self._others.stop()
        if left := [entry.id for entry in self.table if entry.is_suspended]:
            _log.info("jobs are left, and go on later", count=len(left), job_ids=left[:_TOLD])

    async def _suspend(self, entries: list[JobEntry]) -> None:
        for entry in entries:
            entry.suspend()
        await asyncio.gather(*(self.runs.stop(entry) for entry in entries))

    async def none_runs(self) -> None:
        """Wait until no durable job runs that is not suspended."""
        while tasks := {each.task for each in self._live() if each.task and each.is_durable}:
            await asyncio.wait(tasks)

    def _live(self) -> list[JobEntry]:
        return [entry for entry in self.table if not entry.has_ended]
