"""The memory of all workers together: each job reserves its part before it begins."""

from __future__ import annotations

from collections.abc import Callable

_TIMES_SOURCE = 3
"""A job may use this many times the size of its file: a whole model is loaded in two layouts and in
fp16, and on a tmpfs the mapped files of a job count as memory too."""


class MemoryBudget:
    """The memory that all workers together may use.

    Attributes:
        total_bytes: All of it.
        pools: The parts of the budget.
    """

    def __init__(self, total_bytes: int, base_bytes: int) -> None:
        """Set up the budget.

        Args:
            total_bytes: The memory of all workers together.
            base_bytes: What one job may use, beside an allowance for its file. It gets less if the
                total, divided by the lanes, is less.
        """
        self.total_bytes, self._wanted_bytes = total_bytes, base_bytes
        self.pools: list[MemoryPool] = []

    @property
    def base_bytes(self) -> int:
        """What every lane can use at once."""
        lanes = sum(pool.lanes for pool in self.pools)
        return min(self._wanted_bytes, self.total_bytes // max(1, lanes))

    @property
    def taken_bytes(self) -> int:
        """How much is reserved."""
        return sum(pool.taken_bytes for pool in self.pools)

    @property
    def most_bytes(self) -> int:
        """What the jobs of one pool can reserve together.

        Another pool can always run one small job, so inspections do not wait for conversions.
        """
        return self.total_bytes - (self.base_bytes if len(self.pools) > 1 else 0)

    def has(self, more_bytes: int) -> bool:
        """Return whether this much is left."""
        return self.taken_bytes + more_bytes <= self.total_bytes

    def pool(self, on_release: Callable[[], None]) -> MemoryPool:
        """Add a pool.

        Args:
            on_release: Called whenever a job of any pool has ended.
        """
        pool = MemoryPool(self, on_release)
        self.pools.append(pool)
        return pool


class MemoryPool:
    """The part of a budget that one kind of workers has reserved."""

    def __init__(self, budget: MemoryBudget, on_release: Callable[[], None]) -> None:
        self._budget = budget
        self.on_release = on_release
        self.lanes = 0
        self.taken_bytes = 0

    def allowance(self, source_bytes: int) -> int:
        """Return how much a job on a file of this size may use.

        A conversion reads a file in pieces, so a file that is larger than the memory can often be
        converted. Its job may use everything, once no other job does.
        """
        wanted_bytes = self._budget.base_bytes + _TIMES_SOURCE * source_bytes
        return min(wanted_bytes, self._budget.most_bytes)

    def fits(self, job_bytes: int) -> bool:
        """Return whether a job with this allowance can begin now."""
        is_within = self.taken_bytes + job_bytes <= self._budget.most_bytes
        return is_within and self._budget.has(job_bytes)

    def take(self, job_bytes: int) -> None:
        """Reserve the allowance of a job."""
        self.taken_bytes += job_bytes

    def give_back(self, job_bytes: int) -> None:
        """Release the allowance of a job."""
        self.taken_bytes -= job_bytes
        for pool in self._budget.pools:
            pool.on_release()
