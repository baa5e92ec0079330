"""Admission control: bounds how many jobs or downloads there are, in all and for each client."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import NotReadyError, QueueFullError, TooManyRequestsError
from service.settings import PREFIX

_MAX_RETRY_AFTER_S = 300
_UNKNOWN_S = 1.0
"""What a job is taken to last before one has run."""


class Admission:
    """A number of places; each job or download holds one while it lasts."""

    def __init__(
        self,
        count: int,
        *,
        setting: str,
        per_client: int | None = None,
        per_client_setting: str | None = None,
        lanes: Callable[[], int] | None = None,
    ) -> None:
        """Set up the places.

        Args:
            count: How many places there are, beside those of running jobs.
            setting: The environment variable that sets this number.
            per_client: How many one client may take, or none for no bound.
            per_client_setting: The environment variable for it; by default `setting`.
            lanes: Returns how many jobs run at once; none for downloads, which all run.
        """
        self._waiting_count, self._setting, self._per_client = count, setting, per_client
        self._per_client_setting = per_client_setting or setting
        self._lanes = lanes
        self._taken: Counter[str] = Counter()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._job_s: float | None = None

    @property
    def job_s(self) -> float:
        """A moving average of the seconds that a job takes, for `Retry-After`."""
        return _UNKNOWN_S if self._job_s is None else self._job_s

    @property
    def count(self) -> int:
        """How many places there are."""
        return self._waiting_count + (self._lanes() if self._lanes else 0)

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
        self._job_s = job_s if self._job_s is None else self._job_s + (job_s - self._job_s) / 8

    def seconds_of(self, jobs: float) -> int:
        """Return in how many seconds this many jobs will probably have run, for `Retry-After`."""
        lanes = max(1, self._lanes()) if self._lanes else 1
        return min(max(round(self.job_s * jobs / lanes), 1), _MAX_RETRY_AFTER_S)

    def check(self, client: str) -> None:
        """Check whether this client would get a place now.

        Raises:
            NotReadyError: If the service is draining.
            QueueFullError: If all places are taken.
            TooManyRequestsError: If this client has as many as allowed.
        """
        if self._draining:
            raise NotReadyError(
                "The service is draining: it takes no new work.",
                retry_after_s=self.seconds_of(self.taken_count),
            )
        if self.taken_count >= self.count:
            raise QueueFullError(
                f"All {self.count} places are taken.",
                remedy=f"Try later, or raise {self._setting}.",
                retry_after_s=self.seconds_of(self.taken_count / 2),
            )
        if self._per_client is not None and self._taken[client] >= self._per_client:
            raise TooManyRequestsError(
                f"This client has {self._per_client} places already.",
                remedy=f"Wait for one of them, or raise {self._per_client_setting}.",
                limit=self._per_client_setting.removeprefix(PREFIX).lower(),
                # The clients take turns, so each of them has a job done in this time.
                retry_after_s=self.seconds_of(len(self._taken)),
            )
