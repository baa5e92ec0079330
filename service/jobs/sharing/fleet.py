"""This service as one of several: its signs of life, its jobs, and those of others."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from convlast.errors import SourceNotFoundError, StoreError
from convlast.jobs import JobState
from service.errors import GoneError
from service.jobs.entry import JobEntry
from service.jobs.journal import Recorded
from service.jobs.others import Others, OwnJobs, TakenError
from service.jobs.records import Accepted, Outcome
from service.jobs.retention import CANCELLED, EXPIRED, REMOVED
from service.jobs.sharing import watch
from service.jobs.sharing.following import LOOK_S, Following
from service.jobs.sharing.inheriting import Inheriting
from service.jobs.sharing.shared_store import Gone, Run, SharedStore
from service.jobs.sharing.sweeping import SWEEP_S, Sweeping
from service.jobs.table import place_of
from service.problems import Problem
from service.threads import CARRYING, SIGNALLING, STORING

TELL_S = 1.0
"""How often others are told how far the jobs of this service are, and cancellations looked for."""

CANCEL_PATIENCE_S = 10.0
"""How long the service that has a job may take to cancel it."""

LEAVE_S = 3.0
"""How long the end of this service waits until the others are told of it."""

_ID = re.compile("[0-9a-f]{64}")
_log = structlog.get_logger()


class Fleet(Others):
    """The services that share a store."""

    def __init__(self, store: SharedStore, *, max_bytes: int, max_age_s: float) -> None:
        """Set up.

        Args:
            store: The store.
            max_bytes: Bytes of finished jobs that it keeps.
            max_age_s: How long it keeps a finished job, in seconds.
        """
        self.store, self.journal = store, store.journal
        self._max_age_s = max_age_s
        self._following = Following(store)
        self._sweeping = Sweeping(store, max_bytes=max_bytes, max_age_s=max_age_s)
        self._inheriting = Inheriting(store)
        self._told: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def left_here(self) -> Iterable[Recorded]:
        """Return none: they are taken over, by this service or another one."""
        return ()

    async def start(self, jobs: OwnJobs) -> None:
        """Begin to take part, and to take over jobs of services that are gone."""
        work: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (lambda: SIGNALLING.run(self.store.announce), watch.BEAT_S),
            (lambda: self._inheriting.look(jobs), watch.BEAT_S),
            (lambda: self._tell(jobs), TELL_S),
            (lambda: self._look_for_cancellations(jobs), TELL_S),
            (lambda: STORING.run(self._sweeping.sweep), SWEEP_S),
        ]
        self._tasks = [asyncio.create_task(_repeat(each, pause_s)) for each, pause_s in work]

    async def stop(self) -> None:
        """Take part no longer: others take over what this service has left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._following.stop()
        self.store.break_off()
        try:
            async with asyncio.timeout(LEAVE_S):
                await SIGNALLING.run(self.store.leave)
        except (StoreError, TimeoutError) as error:
            problem = str(error) or "There is no answer."
            _log.warning("the other services were not told of the end", problem=problem)
        self.store.services.break_off()

    def break_off(self) -> None:
        """Wait for the store no longer."""
        self.store.break_off()

    async def find(self, job_id: str, owner: str) -> JobEntry | None:
        """Return a job of this owner that the store has.

        Raises:
            GoneError: If it was removed, or has expired.
        """
        if not _ID.fullmatch(job_id):
            return None
        run = await STORING.run(self.store.latest, job_id)
        if run is None:
            return None
        again = "Send the request again to run it anew."
        if run.gone is not None and run.gone.owner == owner:
            raise GoneError(run.gone.why, remedy=again)
        if run.recorded is None or run.recorded.accepted.owner != owner:
            return None
        if self._is_expired(run):
            raise GoneError(EXPIRED, remedy=again)
        return await self._entry_of(run)

    async def latest(self, job_id: str) -> JobEntry | None:
        """Return a job of any owner that the store has, unless it is gone."""
        run = await STORING.run(self.store.latest, job_id)
        return None if run is None or self._is_expired(run) else await self._entry_of(run)

    async def places(self, owner: str) -> Mapping[str, str]:
        """Return the ids of the jobs of an owner that the store has, by `place_of` each."""
        indexed = await STORING.run(self.store.of, owner)
        return {place_of(each.created_at, each.id): each.id for each in indexed}

    def _is_expired(self, run: Run) -> bool:
        outcome = run.recorded.outcome if run.recorded else None
        return outcome is not None and time.time() - outcome.finished_at > self._max_age_s

    async def _entry_of(self, run: Run) -> JobEntry | None:
        if run.recorded is None:
            return None
        entry = self._following.entry_of(run.recorded)
        if entry.outcome is None:
            await self._following.look(entry)
        return entry

    async def bring(self, owner: str, sha256: str, path: Path) -> Accepted | None:
        """Write the checkpoint of an earlier job of this owner to a new file, if there is one.

        Raises:
            StoreError: If the store does not answer.
        """
        for each in await STORING.run(self.store.of, owner):
            if each.sha256 != sha256:
                continue
            run = await STORING.run(self.store.latest, each.id)
            if run is not None and run.recorded is not None and not self._is_expired(run):
                with suppress(SourceNotFoundError):
                    await self.store.bring(run.name, path)
                    return run.recorded.accepted
        return None

    async def next_run(self, job_id: str) -> int:
        """Return how many jobs with this id the store has had."""
        run = await STORING.run(self.store.latest, job_id)
        if run is None:
            return 0
        # Another service may be writing it down: the first one will have it.
        return run.number + run.is_complete

    async def accept(self, accepted: Accepted, checkpoint: Path | None) -> None:
        """Write down a job, which this service has to finish.

        Args:
            accepted: The job.
            checkpoint: Its checkpoint; none if the job fetches it from an address.

        Raises:
            TakenError: If another service has written it down.
            StoreError: If the store does not take it.
        """
        self._inheriting.accepting.add(accepted.name)
        try:
            if not await CARRYING.run(self.store.accept, accepted, checkpoint):
                raise TakenError
        finally:
            self._inheriting.accepting.discard(accepted.name)

    async def abandon(self, accepted: Accepted) -> None:
        """Leave it as it is: if it was written after all, this service finds and finishes it."""

    async def keeps(self, entry: JobEntry) -> bool:
        """Note that a job has ended, and return that the store keeps it for all."""
        self._told.pop(entry.accepted.name, None)
        try:
            await STORING.run(self.store.ended, entry.accepted)
        except StoreError as error:  # what is left is found later, and is of no consequence
            _log.warning("the end of a job is not noted in the store", problem=str(error))
        return True

    async def hand_over(self, entry: JobEntry) -> bool:
        """Let another service go on with a job."""
        try:
            await STORING.run(self.store.hand_over, entry.accepted.name)
        except StoreError as error:  # another one finds it when this service is gone
            _log.warning("a job is not handed over now", problem=str(error))
            return False
        return True

    def follow(self, entry: JobEntry) -> None:
        """Follow a job that another service has begun."""
        entry.is_elsewhere = True
        self._following.follow(entry)

    async def cancel(self, entry: JobEntry) -> JobState:
        """Let the service that has a job cancel it, and return its state.

        Raises:
            StoreError: If the store does not answer.
        """
        name = entry.accepted.name
        await STORING.run(self.store.cancel, name)
        try:
            async with asyncio.timeout(CANCEL_PATIENCE_S):
                while entry.outcome is None:
                    await self._following.look(entry)
                    await asyncio.sleep(LOOK_S / 2)
        except TimeoutError:
            # The service that has it is gone or hangs; what it writes later has no effect.
            await STORING.run(self._note_cancelled, entry)
            await self._following.look(entry)
        return entry.state

    def _note_cancelled(self, entry: JobEntry) -> None:
        outcome = Outcome(
            state="cancelled",
            finished_at=time.time(),
            attempt=entry.attempts,
            seq=entry.next_seq(),
            problem=Problem.of(GoneError(CANCELLED)).body(),
        )
        self.store.journal.keep(entry.accepted, outcome, None, flushed=True)

    async def remove(self, entry: JobEntry, why: str = REMOVED) -> None:
        """Remove a job that has ended, and remember why."""
        gone = Gone(owner=entry.accepted.owner, why=why, at=time.time())
        await STORING.run(self.store.remove, entry.accepted, gone)

    async def _tell(self, jobs: OwnJobs) -> None:
        """Tell the others how far the jobs of this service are."""
        for entry in jobs.durable():
            name, standing = entry.accepted.name, entry.standing
            if entry.outcome is None and self._told.get(name) != standing.seq:
                self._told[name] = standing.seq
                await STORING.run(self.store.tell, name, standing)

    async def _look_for_cancellations(self, jobs: OwnJobs) -> None:
        """Cancel the jobs that clients of other services have cancelled."""
        live = {entry.accepted.name: entry for entry in jobs.durable()}
        if not live:
            return
        for name in await STORING.run(self.store.cancelled_jobs):
            if (entry := live.get(name)) is not None and not entry.is_suspended:
                await jobs.cancel(entry)


async def _repeat(work: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """Do work again and again, whatever becomes of it."""
    while True:
        try:
            await work()
        except Exception as error:
            _log.warning("the shared store cannot be used now", problem=str(error))
        await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311  # no secret
