"""Who may come in: a bounded number of jobs, from a request's headers to the worker's answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import NotReadyError, QueueFullError, TooManyRequestsError

_MAX_RETRY_AFTER_S = 300


class Places:
    """The places of a queue. One is taken before a body is read, so that no upload is in vain."""

    def __init__(self, count: int, *, per_owner: int | None = None) -> None:
        """Set up the places.

        Args:
            count: How many there are.
            per_owner: How many one owner may take; none: all.
        """
        self._count, self._per_owner = count, per_owner
        self._owners: Counter[str] = Counter()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.job_s = 1.0
        """A moving average of the seconds that a job runs, for `Retry-After`."""

    @property
    def taken_count(self) -> int:
        """The places that are taken now."""
        return self._owners.total()

    @property
    def draining(self) -> bool:
        """Whether nobody comes in any more."""
        return self._draining

    @contextmanager
    def take(self, owner: str) -> Iterator[None]:
        """Hold a place.

        Raises:
            NotReadyError: If the service is draining.
            QueueFullError: If all places are taken.
            TooManyRequestsError: If this owner has taken as many as allowed.
        """
        self._refuse(owner)
        self._owners[owner] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._owners[owner] -= 1
            self._owners += Counter()  # owners without a place are forgotten
            if not self._owners:
                self._empty.set()

    def drain(self) -> None:
        """Let nobody in any more."""
        self._draining = True

    async def emptied(self) -> None:
        """Wait until no place is taken."""
        await self._empty.wait()

    def ran(self, job_s: float) -> None:
        """Remember how long a job ran."""
        self.job_s += (job_s - self.job_s) / 8

    def _refuse(self, owner: str) -> None:
        if self._draining:
            raise NotReadyError("The service is draining: it takes no new work.")
        if self.taken_count >= self._count:
            wait_s = min(max(round(self.job_s * self.taken_count / 2), 1), _MAX_RETRY_AFTER_S)
            raise QueueFullError(
                f"All {self._count} places are taken.",
                remedy="Try later, or raise CONVLAST_QUEUE_SIZE.",
                retry_after_s=wait_s,
            )
        if self._per_owner is not None and self._owners[owner] >= self._per_owner:
            raise TooManyRequestsError(
                f"This key has {self._per_owner} jobs already.", limit="jobs_per_key"
            )
