"""Watches the memory of a worker from the service, since CUDA fails under the kernel's limits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Excess: TypeAlias = Literal["memory", "threads"]

_COUNTED = ("RssAnon", "RssShmem", "VmSwap", "VmPTE", "HugetlbPages")
"""Memory that the kernel cannot reclaim: anonymous and shared pages, swapped-out pages, page tables
(a sparsely touched mapping needs many), and huge pages, which no `Rss` includes.
Source: proc_pid_status(5)."""


@dataclass(frozen=True)
class Usage:
    """The memory and the threads of a process.

    Attributes:
        memory_bytes: Anonymous memory, swapped out or not, memory that is shared or mapped from a
            tmpfs, and page tables. Pages of mapped files are not included, since the kernel can
            reclaim them.
        threads: The number of its threads.
    """

    memory_bytes: int
    threads: int

    @classmethod
    def parse(cls, status: str) -> Usage:
        r"""Parse `/proc/PID/status`.

        >>> Usage.parse("RssAnon:\t 8 kB\nRssFile:\t 90 kB\nVmPTE:\t 2 kB\nThreads:\t3\n")
        Usage(memory_bytes=10240, threads=3)
        """
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        # A zombie has no fields for memory.
        kibibytes = sum(int(fields.get(name, "0 kB").split()[0]) for name in _COUNTED)
        return cls(memory_bytes=kibibytes << 10, threads=int(fields["Threads"]))


@dataclass(frozen=True)
class MemoryWatch:
    """Checks a process at regular intervals.

    Attributes:
        pid: The process.
        max_bytes: Memory that it may use. A worker starts with the memory of the fork server.
        max_threads: Threads that it may have; more of them would starve the service.
        interval_s: Seconds between two checks. A process can exceed its limit until the next check,
            so the machine needs more memory than the limit.
    """

    pid: int
    max_bytes: int
    max_threads: int = 4096
    interval_s: float = 0.1

    def usage(self) -> Usage | None:
        """Return the usage of the process, or none if it has ended or cannot be read."""
        try:
            return Usage.parse(Path(f"/proc/{self.pid}/status").read_text())
        except OSError:
            return None

    def excess(self) -> Excess | None:
        """Return what exceeds its limit, if anything does."""
        usage = self.usage()
        if usage is None:
            return None
        if usage.memory_bytes > self.max_bytes:
            return "memory"
        return "threads" if usage.threads > self.max_threads else None

    async def wait_for_excess(self) -> Excess:
        """Wait until the process exceeds a limit; many jobs end before the first look."""
        excess = None
        while excess is None:
            await asyncio.sleep(self.interval_s)  # the kernel sends no event
            excess = self.excess()
        return excess
