"""Jobs that other services have: read from the store as long as a request looks at them."""

from __future__ import annotations

import asyncio
import time
import weakref
from weakref import WeakValueDictionary

import structlog

from convlast.errors import StoreError
from service.jobs.entry import JobEntry
from service.jobs.journal import Recorded
from service.jobs.records import Outcome
from service.jobs.sharing.shared_store import SharedStore
from service.threads import STORING

LOOK_S = 0.5
"""How often a job is looked at."""

_log = structlog.get_logger()


class Following:
    """The jobs of other services that requests look at."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._entries: WeakValueDictionary[str, JobEntry] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    def entry_of(self, recorded: Recorded) -> JobEntry:
        """Return a job as it is stored; one that goes on is followed."""
        accepted, outcome = recorded.accepted, recorded.outcome
        followed = self._entries.get(accepted.name)
        if followed is not None and outcome is None:
            return followed
        age_s = time.time() - accepted.created_at
        # An old number, so that whatever the other service tells is newer.
        entry = JobEntry(accepted, attempts=recorded.attempts, age_s=0 if not outcome else age_s)
        entry.is_durable = entry.is_kept = entry.is_elsewhere = True
        if outcome is not None:
            self._end(entry, outcome)
        else:
            self.follow(entry)
        return entry

    def follow(self, entry: JobEntry) -> None:
        """Follow a job until it has ended, or nobody looks at it any more."""
        self._entries[entry.accepted.name] = entry
        task = asyncio.create_task(self._follow(weakref.ref(entry), entry.accepted.name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, looked_at: weakref.ref[JobEntry], name: str) -> None:
        while (entry := looked_at()) is not None and not entry.has_ended:
            try:
                await self.look(entry)
            except StoreError as error:
                _log.warning("a job of another service cannot be read", problem=str(error))
            del entry  # otherwise this would be the one that looks at it
            await asyncio.sleep(LOOK_S)

    async def look(self, entry: JobEntry) -> None:
        """Read how far a job is.

        Raises:
            StoreError: If the store does not answer.
        """
        heard = await STORING.run(self._store.hear, entry.accepted.name)
        if isinstance(heard, Outcome):
            self._end(entry, heard)
        elif heard is not None:
            entry.hears(heard)

    def _end(self, entry: JobEntry, outcome: Outcome) -> None:
        if entry.outcome is None:
            entry.opens = self._store.journal.opener(entry.accepted.name, outcome)
            entry.ends(outcome)

    async def stop(self) -> None:
        """Follow no job any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
