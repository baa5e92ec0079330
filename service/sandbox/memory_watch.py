"""The memory of a worker, watched by the service: the kernel has no limit that CUDA survives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Excess: TypeAlias = Literal["memory", "threads"]

_COUNTED = ("RssAnon", "RssShmem", "VmSwap", "VmPTE", "HugetlbPages")
"""What the kernel can take back from nobody else: what was swapped out, the tables of pages, of
which a few touched bytes in each stretch of a wide mapping need one, and huge pages, which no `Rss`
has in it. Source: proc_pid_status(5)."""


@dataclass(frozen=True)
class Usage:
    """What a process takes.

    Attributes:
        memory_bytes: Anonymous memory, swapped out or not, memory that it shares or maps from a
            tmpfs, and the tables of its pages. Pages of mapped files are not in it: they cost
            nothing that the kernel cannot take back.
        threads: How many it has.
    """

    memory_bytes: int
    threads: int

    @classmethod
    def parse(cls, status: str) -> Usage:
        r"""Read what the kernel says of a process in `/proc/PID/status`.

        >>> Usage.parse("RssAnon:\t 8 kB\nRssFile:\t 90 kB\nVmPTE:\t 2 kB\nThreads:\t3\n")
        Usage(memory_bytes=10240, threads=3)
        """
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        # A process that has ended and is not yet collected has no memory left to report.
        kibibytes = sum(int(fields.get(name, "0 kB").split()[0]) for name in _COUNTED)
        return cls(memory_bytes=kibibytes << 10, threads=int(fields["Threads"]))


@dataclass(frozen=True)
class MemoryWatch:
    """Looks at a process from time to time.

    Attributes:
        pid: Which one.
        max_bytes: Memory that it may have. A worker starts with what the fork server has.
        max_threads: Threads that it may have; more of them would starve the service.
        interval_s: Seconds between two looks. What is taken within one goes unseen, so a limit
            needs room above it.
    """

    pid: int
    max_bytes: int
    max_threads: int = 4096
    interval_s: float = 0.1

    def usage(self) -> Usage | None:
        """Tell what the process takes; none if it has ended or cannot be seen."""
        try:
            return Usage.parse(Path(f"/proc/{self.pid}/status").read_text())
        except OSError:
            return None

    def excess(self) -> Excess | None:
        """Tell what there is too much of."""
        usage = self.usage()
        if usage is None:
            return None
        if usage.memory_bytes > self.max_bytes:
            return "memory"
        return "threads" if usage.threads > self.max_threads else None

    async def wait_for_excess(self) -> Excess:
        """Return once there is too much of something; wait until cancelled if there never is."""
        while (excess := self.excess()) is None:  # noqa: ASYNC110  # the kernel sends no event
            await asyncio.sleep(self.interval_s)
        return excess
