"""Admission control: bounds how many jobs or downloads there are, in all and for each client."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import NotReadyError, QueueFullError, TooManyRequestsError

_MAX_RETRY_AFTER_S = 300


class Admission:
    """A number of places; each job or download holds one while it lasts."""

    def __init__(self, count: int, *, setting: str, per_client: int | None = None) -> None:
        """Set up the places.

        Args:
            count: How many places there are.
            setting: The environment variable that sets this number.
            per_client: How many one client may take, or none for no bound.
        """
        self._count, self._setting, self._per_client = count, setting, per_client
        self._taken: Counter[str] = Counter()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.job_s = 1.0
        """A moving average of the seconds that a job takes, for `Retry-After`."""

    @property
    def taken_count(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    @property
    def draining(self) -> bool:
        """Whether no new work is admitted."""
        return self._draining

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Hold a place, if one is free.

        Raises:
            NotReadyError: If the service is draining.
            QueueFullError: If all places are taken.
            TooManyRequestsError: If this client has as many as allowed.
        """
        self.check(client)
        with self.hold(client):
            yield

    @contextmanager
    def hold(self, client: str) -> Iterator[None]:
        """Hold a place even if none is free: work that is already done is not refused."""
        self._taken[client] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._taken[client] -= 1
            self._taken += Counter()  # drops clients that have no place
            if not self._taken:
                self._empty.set()

    def drain(self) -> None:
        """Admit no new work."""
        self._draining = True

    async def emptied(self) -> None:
        """Wait until no place is taken."""
        await self._empty.wait()

    def ran(self, job_s: float) -> None:
        """Add the duration of a job to the average."""
        self.job_s += (job_s - self.job_s) / 8

    def check(self, client: str) -> None:
        """Check whether this client would get a place now.

        Raises:
            NotReadyError: If the service is draining.
            QueueFullError: If all places are taken.
            TooManyRequestsError: If this client has as many as allowed.
        """
        if self._draining:
            raise NotReadyError("The service is draining: it takes no new work.")
        if self.taken_count >= self._count:
            wait_s = min(max(round(self.job_s * self.taken_count / 2), 1), _MAX_RETRY_AFTER_S)
            raise QueueFullError(
                f"All {self._count} places are taken.",
                remedy=f"Try later, or raise {self._setting}.",
                retry_after_s=wait_s,
            )
        if self._per_client is not None and self._taken[client] >= self._per_client:
            raise TooManyRequestsError(
                f"This client has {self._per_client} jobs or downloads already.",
                remedy="Wait for one of them, or raise CONVLAST_JOBS_PER_KEY.",
                limit="jobs_per_key",
            )
