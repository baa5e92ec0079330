"""Lists the jobs of an owner in pages, each with a bounded number of looks into the store."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from convlast.jobs import JobState
from service.jobs.entry import JobEntry
from service.jobs.others import Others
from service.jobs.table import JobTable, place_of

MOST_READ = 400
"""Jobs that are read from a shared store for one page, to find those that were asked for."""


class Page(NamedTuple):
    """A page of a list.

    Attributes:
        entries: The jobs, the newest first; perhaps fewer than were asked for.
        end: The place of the last job that was looked at; none if no other job is left.
    """

    entries: list[JobEntry]
    end: str | None


class Wanted(NamedTuple):
    """What is asked for.

    Attributes:
        owner: Whose jobs.
        limit: How many at most.
        after: The place where the list goes on, see `place_of`; empty for the beginning.
        state: The state that they are in, if only those of one are wanted.
    """

    owner: str
    limit: int
    after: str = ""
    state: JobState | None = None


async def page_of(table: JobTable, others: Others, wanted: Wanted) -> Page:
    """Return a page of the jobs of an owner.

    Args:
        table: The jobs that are here.
        others: Know the jobs that are in a shared store.
        wanted: What is asked for.

    Raises:
        StoreError: If the store does not answer.
    """
    here = {_place_of(entry): entry for entry in table.of(wanted.owner)}
    hidden = {entry.id for entry in here.values()}
    stored = await others.places(wanted.owner)
    ids = {place: job_id for place, job_id in stored.items() if job_id not in hidden}
    fitting = {place for place, entry in here.items() if wanted.state in {None, entry.state}}
    places = sorted(fitting | ids.keys(), reverse=True)
    left = [place for place in places if not wanted.after or place < wanted.after]

    async def found(place: str) -> JobEntry | None:
        entry = here.get(place) or await others.latest(ids[place])
        # One that was run anew has another place now.
        if entry is None or (_place_of(entry), entry.accepted.owner) != (place, wanted.owner):
            return None
        return entry if wanted.state in {None, entry.state} else None

    entries: list[JobEntry] = []
    looked_at, most = 0, min(len(left), MOST_READ)
    while len(entries) < wanted.limit and looked_at < most:
        batch = left[looked_at : min(looked_at + max(wanted.limit, looked_at), most)]
        entries += filter(None, await asyncio.gather(*map(found, batch)))
        looked_at += len(batch)
    if len(entries) > wanted.limit:
        del entries[wanted.limit :]
        return Page(entries, _place_of(entries[-1]))
    return Page(entries, left[looked_at - 1] if looked_at < len(left) else None)


def _place_of(entry: JobEntry) -> str:
    return place_of(entry.accepted.created_at, entry.id)
