"""Which finished jobs are kept: bounded by age, by bytes and by number.

Ages are by a monotonic clock; the time of day is needed only at the start, for the age of jobs that
an earlier run has left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from service.storage.inputs import InputKey

MOST_JOBS = 5_000
"""Finished jobs that are kept at most, and removed ones that are remembered."""

REMOVED, EXPIRED = "The job was removed.", "The job has expired, and is removed."
CANCELLED = "The job was cancelled."


@dataclass(frozen=True)
class Kept:
    """A finished job that is kept.

    Attributes:
        id: Its id.
        kept_at: Since when, by the monotonic clock.
        file_bytes: The size of its files.
        input_key: Names its checkpoint, if that is kept.
        input_bytes: The size of its checkpoint.
    """

    id: str
    kept_at: float
    file_bytes: int
    input_key: InputKey | None
    input_bytes: int


class Retention:
    """Says when finished jobs have to go, and remembers why."""

    def __init__(
        self, max_bytes: int, max_age_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up.

        Args:
            max_bytes: Bytes of files and checkpoints that are kept; the oldest jobs go first.
            max_age_s: Seconds after which a job goes.
            clock: Returns seconds by a monotonic clock.
        """
        self._max_bytes, self._max_age_s, self._clock = max_bytes, max_age_s, clock
        self._kept: dict[str, Kept] = {}
        self._holders: Counter[InputKey] = Counter()
        self.kept_bytes = 0
        """The size of all files and checkpoints of finished jobs."""
        self._gone: dict[str, tuple[str, str]] = {}

    def keep(
        self, job_id: str, file_bytes: int, held: tuple[InputKey, int] | None, *, age_s: float = 0
    ) -> None:
        """Note a finished job.

        Args:
            job_id: Its id.
            file_bytes: The size of its files.
            held: Its checkpoint with the size, if that is kept.
            age_s: Seconds since it has finished.
        """
        self.let_go(job_id)
        key, input_bytes = held or (None, 0)
        kept_at = self._clock() - max(age_s, 0)
        self._kept[job_id] = Kept(job_id, kept_at, file_bytes, key, input_bytes)
        self.kept_bytes += file_bytes
        if key is not None:
            self.kept_bytes += input_bytes if not self._holders[key] else 0
            self._holders[key] += 1

    def let_go(self, job_id: str) -> None:
        """Stop counting a job."""
        kept = self._kept.pop(job_id, None)
        if kept is None:
            return
        self.kept_bytes -= kept.file_bytes
        if kept.input_key is not None:
            self._holders[kept.input_key] -= 1
            self._holders += Counter()  # drops keys that nobody holds
            self.kept_bytes -= kept.input_bytes if kept.input_key not in self._holders else 0

    def forget(self, job_id: str, owner: str, why: str) -> None:
        """Note that a job is gone, and why."""
        self.let_go(job_id)
        self._gone.pop(job_id, None)
        self._gone[job_id] = (owner, why)
        while len(self._gone) > MOST_JOBS:
            del self._gone[next(iter(self._gone))]

    def why_gone(self, job_id: str, owner: str) -> str | None:
        """Return why a job of this owner is gone, or none if nothing is known of it."""
        of_owner, why = self._gone.get(job_id, ("", ""))
        return why if why and of_owner == owner else None

    def comes_back(self, job_id: str) -> None:
        """Note that a job that has ended or is gone is submitted anew."""
        self.let_go(job_id)
        self._gone.pop(job_id, None)

    def keeps(self, job_id: str) -> bool:
        """Return whether a finished job is kept, and not too old."""
        return job_id in self._kept and not self.is_expired(job_id)

    def is_expired(self, job_id: str) -> bool:
        """Return whether a finished job is too old."""
        kept = self._kept.get(job_id)
        return kept is not None and self._clock() - kept.kept_at > self._max_age_s

    def overdue(self) -> list[str]:
        """Return the jobs that have to go: the expired ones, and the oldest beyond the bounds."""
        gone: list[str] = []
        counted: set[InputKey] = set()
        total_bytes, is_full = 0, False
        newest_first = sorted(self._kept.values(), key=lambda kept: kept.kept_at, reverse=True)
        for number, kept in enumerate(newest_first):
            more_bytes = kept.file_bytes
            if kept.input_key is not None and kept.input_key not in counted:
                more_bytes += kept.input_bytes
            # Once there is no room for a job, there is none for older ones either.
            is_full |= number >= MOST_JOBS or total_bytes + more_bytes > self._max_bytes
            if is_full or self.is_expired(kept.id):
                gone.append(kept.id)
                continue
            total_bytes += more_bytes
            if kept.input_key is not None:
                counted.add(kept.input_key)
        return gone

    @property
    def is_full(self) -> bool:
        """Whether there are too many finished jobs, or they are too large."""
        return self.kept_bytes > self._max_bytes or len(self._kept) > MOST_JOBS

    def __len__(self) -> int:
        return len(self._kept)
