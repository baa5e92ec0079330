"""The other services that share the store with this one; by default there are none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from convlast.jobs import JobState
from service.jobs.entry import JobEntry
from service.jobs.journal import Journal, Recorded
from service.jobs.records import Accepted
from service.jobs.retention import REMOVED
from service.jobs.table import JobTable
from service.threads import RECORDING


class TakenError(Exception):
    """Another service has the job."""


class OwnJobs(Protocol):
    """The jobs of this service: what is told of them, and how those of others come to it.

    Attributes:
        table: All jobs that are here.
    """

    table: JobTable

    @property
    def is_draining(self) -> bool:
        """Whether no durable job is begun any more."""

    def has(self, name: str) -> bool:
        """Return whether a job that is stored is here, and has not ended."""

    def durable(self) -> list[JobEntry]:
        """Return the durable jobs that are here and have not ended."""

    async def adopt(self, recorded: Recorded, bring: Callable[[Path], Awaitable[None]]) -> None:
        """Go on with a job that another service has left."""

    async def cancel(self, entry: JobEntry) -> JobState:
        """Cancel a job that waits or runs, and return its state, since it may end meanwhile."""


class Others(Protocol):
    """Other services, and the jobs that they have.

    Attributes:
        journal: What is stored of all jobs.
    """

    journal: Journal

    def left_here(self) -> Iterable[Recorded]:
        """Return the jobs that an earlier run of this service has left to it alone."""

    async def start(self, jobs: OwnJobs) -> None:
        """Begin to take part, and to take over jobs of services that are gone."""

    async def stop(self) -> None:
        """Take part no longer."""

    def break_off(self) -> None:
        """Wait for them, and for their store, no longer: what is asked fails at once."""

    async def find(self, job_id: str, owner: str) -> JobEntry | None:
        """Return a job of this owner that the store has.

        Raises:
            GoneError: If it was removed, or has expired.
        """

    async def latest(self, job_id: str) -> JobEntry | None:
        """Return a job of any owner that the store has, unless it is gone."""

    async def places(self, owner: str) -> Mapping[str, str]:
        """Return the ids of the jobs of an owner that the store has, by `place_of` each."""

    async def bring(self, owner: str, sha256: str, path: Path) -> Accepted | None:
        """Write the checkpoint of an earlier job of this owner to a new file, if there is one."""

    async def next_run(self, job_id: str) -> int:
        """Return how many jobs with this id the store has had."""

    async def accept(self, accepted: Accepted, checkpoint: Path | None) -> None:
        """Write down a job, which this service has to finish.

        Args:
            accepted: The job.
            checkpoint: Its checkpoint; none if the job fetches it from an address.

        Raises:
            TakenError: If another service has written it down.
        """

    async def abandon(self, accepted: Accepted) -> None:
        """Remove what `accept` has written, which could not be finished."""

    async def keeps(self, entry: JobEntry) -> bool:
        """Note that a job has ended, and return whether the store keeps it for all."""

    async def hand_over(self, entry: JobEntry) -> bool:
        """Let another service go on with a job, and return whether there may be one."""

    def follow(self, entry: JobEntry) -> None:
        """Follow a job that another service has begun."""

    async def cancel(self, entry: JobEntry) -> JobState:
        """Let the service that has a job cancel it, and return its state."""

    async def remove(self, entry: JobEntry, why: str = REMOVED) -> None:
        """Remove a job that has ended, and remember why."""


class Nobody(Others):
    """No other service: the store is this one's own."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def left_here(self) -> Iterable[Recorded]:
        """Return all jobs."""
        return self.journal.read_all()

    async def start(self, jobs: OwnJobs) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    def break_off(self) -> None:
        """Do nothing."""

    async def find(self, job_id: str, owner: str) -> JobEntry | None:
        """Return none."""
        return None

    async def latest(self, job_id: str) -> JobEntry | None:
        """Return none."""
        return None

    async def places(self, owner: str) -> Mapping[str, str]:
        """Return none."""
        return {}

    async def bring(self, owner: str, sha256: str, path: Path) -> Accepted | None:
        """Return none: all checkpoints are here."""
        return None

    async def next_run(self, job_id: str) -> int:
        """Return 0: a job is removed before another one gets its id."""
        return 0

    async def accept(self, accepted: Accepted, checkpoint: Path | None) -> None:
        """Write down a job."""
        await RECORDING.run(self.journal.accept, accepted)

    async def abandon(self, accepted: Accepted) -> None:
        """Remove what `accept` has written."""
        await RECORDING.run(self.journal.remove, accepted.name)

    async def keeps(self, entry: JobEntry) -> bool:
        """Return that nobody else does."""
        return False

    async def hand_over(self, entry: JobEntry) -> bool:
        """Return that there is none: the job goes on when this service is back."""
        return False

    def follow(self, entry: JobEntry) -> None:
        """Do nothing: all jobs are here."""

    async def cancel(self, entry: JobEntry) -> JobState:
        """Return its state: all jobs are here."""
        return entry.state

    async def remove(self, entry: JobEntry, why: str = REMOVED) -> None:
        """Do nothing: all jobs are here."""
