"""Jobs that are left: by services that are gone, or by a failure of this one."""

from __future__ import annotations

import asyncio
import random
import time

import structlog

from convlast.errors import ConvlastError, SourceNotFoundError
from service.jobs.journal import Recorded
from service.jobs.others import OwnJobs
from service.jobs.records import Outcome
from service.jobs.sharing.shared_store import SharedStore
from service.jobs.sharing.watch import Watch
from service.problems import Problem
from service.threads import SIGNALLING, STORING

MOST_AT_ONCE = 4
"""Jobs that are taken over at once: each has some parts of its checkpoint in memory."""

_log = structlog.get_logger()


class Inheriting:
    """Goes on with jobs that are left.

    Attributes:
        accepting: The names of jobs that this service is writing down.
    """

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._watch = Watch()
        self._orphans: set[str] = set()
        self.accepting: set[str] = set()

    async def look(self, jobs: OwnJobs) -> None:
        """Take over the jobs of services that are gone, and of this one that nobody runs."""
        # Listed first: a service gives a sign before it has to finish anything.
        pending = await SIGNALLING.run(self._store.pending_jobs)
        signs = await SIGNALLING.run(self._store.signs)
        alive = self._watch.looks_at(signs) | {self._store.service}
        own = {name for service, name in pending if service == self._store.service}
        unknown = {name for name in own if not (name in self.accepting or jobs.has(name))}
        orphans, self._orphans = unknown & self._orphans, unknown
        # Each name once: what another service has left of it too is for the next look.
        left = dict.fromkeys(orphans, self._store.service)
        left |= {name: service for service, name in pending if service not in alive}
        turns = asyncio.Semaphore(MOST_AT_ONCE)

        async def go_on_with(name: str, service: str) -> None:
            async with turns:
                if jobs.is_draining:
                    return
                try:
                    await self._go_on_with(name, service, jobs)
                except (ConvlastError, OSError) as error:
                    _log.warning("a job is not taken over now", job_id=name, problem=str(error))

        async with asyncio.TaskGroup() as group:
            # In any order, so that several services share them.
            for name, service in random.sample([*left.items()], len(left)):
                group.create_task(go_on_with(name, service))
        for service in signs.keys() - alive - {each for each, _ in pending}:
            await SIGNALLING.run(self._store.services.remove, service)

    async def _go_on_with(self, name: str, before: str, jobs: OwnJobs) -> None:
        """Go on with a job that a service has left.

        Args:
            name: The name of the job.
            before: The service that had to finish it.
            jobs: The jobs of this service.
        """
        if before != self._store.service and not await STORING.run(
            self._store.take_over, name, before
        ):
            return
        run = await STORING.run(self._store.latest, name.partition("/")[0])
        if name in self.accepting:
            return
        recorded = run.recorded if run is not None and run.name == name else None
        is_half = run is not None and run.name == name and not run.is_complete
        if run is not None and is_half and not await self._is_written(name):
            await STORING.run(self._store.discard, run)
        if recorded is None or recorded.outcome is not None:
            await STORING.run(self._store.let_go, name)
        elif jobs.table.get(recorded.accepted.id) is None:
            _log.warning("a job is taken over", job_id=recorded.accepted.id)
            await self._adopt(recorded, jobs)

    async def _is_written(self, name: str) -> bool:
        """Return whether another service may be writing a job down now."""
        pending = await SIGNALLING.run(self._store.pending_jobs)
        return any(of == name and service != self._store.service for service, of in pending)

    async def _adopt(self, recorded: Recorded, jobs: OwnJobs) -> None:
        accepted = recorded.accepted
        try:
            await jobs.adopt(recorded, lambda path: self._store.bring(accepted.name, path))
        except SourceNotFoundError as error:  # which does not pass
            outcome = Outcome(
                state="failed", finished_at=time.time(), problem=Problem.of(error).body()
            )
            await STORING.run(self._store.journal.keep, accepted, outcome, None, flushed=True)
