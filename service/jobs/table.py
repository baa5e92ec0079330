"""The table of all jobs: those that wait or run, and finished ones as long as they are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import get_args

from convlast.jobs import JobState
from service.cancellation import completed
from service.errors import GoneError, NotFoundError
from service.jobs.entry import JobEntry
from service.jobs.journal import Journal, Recorded
from service.jobs.records import Accepted, Outcome
from service.jobs.retention import EXPIRED, REMOVED, Retention
from service.storage.inputs import InputKey, Inputs
from service.threads import REMOVING


class JobTable:
    """All jobs, by their ids. Its methods belong to the event loop."""

    def __init__(
        self,
        journal: Journal,
        inputs: Inputs,
        retention: Retention,
        recorded: Iterable[Recorded] = (),
    ) -> None:
        """Set up.

        Args:
            journal: What is stored of the jobs.
            inputs: The checkpoints of the jobs.
            retention: Says how long finished jobs are kept.
            recorded: The jobs that an earlier run has left.
        """
        self._journal, self._inputs, self._retention = journal, inputs, retention
        self._entries: dict[str, JobEntry] = {}
        self._removals: dict[str, asyncio.Future[None]] = {}
        for each in recorded:
            self.adopt(each)
        inputs.remove_others()

    def __iter__(self) -> Iterator[JobEntry]:
        return iter(list(self._entries.values()))

    def get(self, job_id: str) -> JobEntry | None:
        """Return a job of any owner, if there is one."""
        return self._entries.get(job_id)

    def add(self, entry: JobEntry) -> None:
        """Add a new job."""
        self._retention.comes_back(entry.id)
        self._entries[entry.id] = entry

    def adopt(self, recorded: Recorded) -> JobEntry:
        """Add a job that an earlier run, or another service, has left."""
        accepted, outcome = recorded.accepted, recorded.outcome
        age_s = time.time() - accepted.created_at
        entry = JobEntry(accepted, attempts=recorded.attempts, age_s=age_s)
        entry.is_durable = entry.is_kept = True
        self._entries[entry.id] = entry
        if outcome is None or outcome.state != "cancelled":
            self.hold_input(entry)
            entry.source = self._inputs.path(entry.input_key)
        if outcome is not None:
            entry.opens = self._journal.opener(accepted.name, outcome)
            entry.ends(outcome)
            self.keep(entry, outcome, age_s=time.time() - outcome.finished_at)
        return entry

    def find(self, job_id: str, owner: str) -> JobEntry:
        """Return a job of this owner.

        Raises:
            NotFoundError: If there is no such job, or it is another owner's.
            GoneError: If it was removed, or has expired.
        """
        entry = self._entries.get(job_id)
        if entry is not None and entry.accepted.owner != owner:
            entry = None
        if entry is not None and not self._retention.is_expired(job_id):
            return entry
        if why := EXPIRED if entry else self._retention.why_gone(job_id, owner):
            raise GoneError(why, remedy="Send the request again to run it anew.")
        raise NotFoundError("There is no such job.")

    def of(self, owner: str) -> list[JobEntry]:
        """Return the jobs of an owner."""
        return [entry for entry in self if entry.accepted.owner == owner]

    def counts(self) -> dict[JobState, int]:
        """Return how many jobs are in each state."""
        counts = dict.fromkeys(get_args(JobState), 0)
        for entry in self:
            counts[entry.state] += 1
        return counts

    @property
    def kept_bytes(self) -> int:
        """The size of the files and checkpoints of finished jobs."""
        return self._retention.kept_bytes

    def keep(self, entry: JobEntry, outcome: Outcome, *, age_s: float = 0) -> None:
        """Keep a job that has ended, until it is too old or there is no room."""
        held = (entry.input_key, entry.accepted.bytes) if entry.holds_input else None
        self._retention.keep(entry.id, outcome.file_bytes, held, age_s=age_s)

    def is_lasting(self, entry: JobEntry) -> bool:
        """Return whether a finished job is kept, and not too old, and has its files."""
        is_there = entry.is_elsewhere or self._retention.keeps(entry.id)
        return is_there and entry.has_files()

    async def remove(self, entry: JobEntry, why: str = REMOVED) -> None:
        """Remove a job that has ended, and its files, and remember why."""
        self._retention.forget(entry.id, entry.accepted.owner, why)
        await completed(self.drop(entry))

    async def drop(self, entry: JobEntry) -> None:
        """Remove a job that has ended, and its files."""
        if self._entries.get(entry.id) is entry:
            del self._entries[entry.id]
            self._retention.let_go(entry.id)
            if entry.is_kept:
                await self._remove_files(entry.id)
        await self.let_input_go(entry)

    async def release(self, entry: JobEntry) -> None:
        """Forget a job that other services have too."""
        if self._entries.get(entry.id) is entry:
            del self._entries[entry.id]
            self._retention.let_go(entry.id)
        await self.let_input_go(entry)

    async def _remove_files(self, job_id: str) -> None:
        removal = asyncio.ensure_future(REMOVING.run(self._journal.remove, job_id))
        self._removals[job_id] = removal
        removal.add_done_callback(lambda _: self._removals.pop(job_id))
        await removal

    async def removed(self, job_id: str) -> None:
        """Wait until the files of an earlier job with this id are gone."""
        if (removal := self._removals.get(job_id)) is not None:
            await asyncio.wait({removal})

    async def sweep(self) -> None:
        """Remove the jobs that are expired, and the oldest beyond the bounds, if nobody waits."""
        for job_id in self._retention.overdue():
            entry = self._entries.get(job_id)
            if entry is not None and entry.waiters <= 0:
                await self.remove(entry, EXPIRED)

    async def make_room(self) -> None:
        """Remove the oldest jobs, if there are too many or they are too large."""
        if self._retention.is_full:
            await self.sweep()

    def forget(self, entry: JobEntry, why: str) -> None:
        """Remember why there is nothing of a job."""
        self._retention.forget(entry.id, entry.accepted.owner, why)

    def hold_input(self, entry: JobEntry) -> None:
        """Keep the checkpoint of a job, until `let_input_go`; one that is fetched is not kept."""
        if not entry.holds_input and entry.accepted.source is None:
            entry.holds_input = True
            self._inputs.hold(entry.input_key)

    async def let_input_go(self, entry: JobEntry) -> None:
        """Remove the checkpoint of a job, unless another job has it too."""
        if entry.holds_input:
            entry.holds_input = False
            await REMOVING.run(self._inputs.let_go, entry.input_key)

    @contextmanager
    def held_input(self, owner: str, sha256: str) -> Iterator[Accepted]:
        """Hold a checkpoint that is kept for its owner, and yield a job with it.

        Raises:
            NotFoundError: If it is not kept.
        """
        key = InputKey(owner, sha256)
        holders = (entry.accepted for entry in self if entry.holds_input and entry.input_key == key)
        holder = next(holders, None)
        is_there = self._inputs.hold(key)
        try:
            if holder is None or not is_there:
                raise NotFoundError("The service does not have these bytes.", remedy="Upload them.")
            yield holder
        finally:
            self._inputs.let_go(key)


def place_of(created_at: float, job_id: str) -> str:
    """Return where a job stands in lists; a later job has a greater place.

    >>> place_of(1.5, "ab" * 32) < place_of(10.0, "aa" * 32)
    True
    """
    return f"{created_at:020.6f}-{job_id[:8]}"
