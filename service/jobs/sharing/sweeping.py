"""Removes finished jobs that are too old from the shared store, or the oldest if it is full."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace

from service.jobs.retention import EXPIRED, MOST_JOBS
from service.jobs.sharing.shared_store import (
    GONE,
    REQUEST,
    Gone,
    Run,
    SharedStore,
    name_of,
    row_of,
    split_runs,
)

SWEEP_S = 60.0
"""How often each service looks through the store."""


@dataclass
class Sweeping:
    """Keeps a store within its bounds. Several services may do so at once.

    Attributes:
        store: The store.
        max_bytes: Bytes of finished jobs that are kept.
        max_age_s: How long a finished job is kept, in seconds.
    """

    store: SharedStore
    max_bytes: int
    max_age_s: float
    _known: dict[str, Run] = field(default_factory=dict)

    def sweep(self) -> None:
        """Look through the store once.

        Raises:
            StoreError: If the store does not answer.
        """
        # In this order: a job is pending from before its row is written until it has ended.
        rows = self.store.rows()
        pending = {name.partition("/")[0] for _, name in self.store.pending_jobs()}
        runs = self._runs()
        self._remove_strays(rows, pending, [run for run, _ in runs])
        self._known = {run.name: run for run, _ in runs if _ended_at(run) is not None}
        self._finish_removals([run for run, _ in runs])
        total_bytes, kept = 0, 0
        for run, size_bytes in sorted(runs, key=_newest_first):
            if (ended_at := _ended_at(run)) is None:
                continue
            total_bytes += size_bytes
            kept += run.gone is None
            is_full = total_bytes > self.max_bytes or kept > MOST_JOBS
            if is_full or time.time() - ended_at > self.max_age_s:
                self._remove(run)

    def _runs(self) -> list[tuple[Run, int]]:
        """Return the latest job with each id, and its size; others have been replaced, and go."""
        by_id: dict[str, dict[str, int]] = defaultdict(dict)
        for each in self.store.jobs.listed(""):
            job_id, _, key = each.name.partition("/")
            by_id[job_id][key] = each.size_bytes
        found = []
        for job_id, sizes in by_id.items():
            runs = split_runs(sizes)
            latest = max((n for n, own in runs.items() if own.keys() & {REQUEST, GONE}), default=0)
            for number, own in runs.items():
                if number == latest:
                    found.append((self._run(job_id, number, own), sum(own.values())))
                elif own and number < latest:  # a later one is being written down
                    self._discard(self._run(job_id, number, own))
        return found

    def _finish_removals(self, runs: list[Run]) -> None:
        """Remove what was left when a removal was broken off: only why a job is gone stays."""
        for run in runs:
            left = tuple(key for key in run.keys if key != GONE)
            if run.gone is not None and left:
                self.store.discard(replace(run, keys=left))

    def _remove_strays(self, rows: list[str], pending: set[str], runs: list[Run]) -> None:
        """Remove rows of lists whose jobs are not there; their services died at such a moment."""
        there = {row_of(run.recorded.accepted) for run in runs if run.recorded}
        # A job that cannot be read now may be there.
        unread = [run.name for run in runs if REQUEST in run.keys and not run.is_complete]
        spared = pending | {name.partition("/")[0] for name in unread}
        for row in rows:
            if row not in there and row.rpartition("-")[2] not in spared:
                self.store.owners.remove(row)

    def _run(self, job_id: str, number: int, sizes: dict[str, int]) -> Run:
        known = self._known.get(name_of(job_id, number))
        is_current = known is not None and (known.gone is not None or GONE not in sizes)
        if known and is_current:
            return replace(known, keys=tuple(sizes))
        return self.store.run(job_id, number, sizes)

    def _discard(self, run: Run) -> None:
        """Remove a job that was run anew."""
        if run.recorded is None:
            self.store.discard(run)
        elif run.recorded.outcome is not None:
            self.store.remove(run.recorded.accepted, None)

    def _remove(self, run: Run) -> None:
        if run.recorded is None:
            self.store.discard(run)
            return
        accepted = run.recorded.accepted
        self.store.remove(accepted, Gone(owner=accepted.owner, why=EXPIRED, at=time.time()))


def _newest_first(found: tuple[Run, int]) -> float:
    return -(_ended_at(found[0]) or 0.0)


def _ended_at(run: Run) -> float | None:
    """Return since when a job is finished or gone, in seconds since 1970."""
    if run.gone is not None:
        return run.gone.at
    outcome = run.recorded.outcome if run.recorded else None
    return outcome.finished_at if outcome else None
