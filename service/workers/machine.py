"""How much of this machine the service may use: its cores and its memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_MEMORY_SHARE = 0.8
_CGROUPS = Path("/sys/fs/cgroup")
_FEWEST, _MOST = 2, 16


def default_workers() -> int:
    """Return how many jobs run at once on the CPU: half the cores, at least 2 and at most 16."""
    return min(max(cores() // 2, _FEWEST), _MOST)


def default_memory_bytes() -> int:
    """Return how much memory all workers together may use."""
    return int(_MEMORY_SHARE * memory_bytes())


def threads_of_each(workers: int) -> int | None:
    """Return how many threads one of some workers computes with.

    With one thread PyTorch's convolutions on a CPU return another layout than with several, and a
    report says which. So each has at least two, or reports would depend on the number of workers.
    """
    here = cores()
    return max(2, here // workers) if here > 1 else None


def cores() -> int:
    """Return the number of cores that this process may use."""
    available = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _own_cgroups() if (quota := _quota(folder / "cpu.max"))]
    return max(1, int(min([available, *quotas])))


def memory_bytes() -> int:
    """Return the memory that this process may use: that of its cgroup, or of the machine."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _own_cgroups():
        for name in ("memory.max", "memory/memory.limit_in_bytes"):
            limit = _text(folder / name)
            if limit.isdecimal():
                found.append(int(limit))
    return min(found)


def _own_cgroups() -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of all above it."""
    own = _text(Path("/proc/self/cgroup")).rpartition("0::")[2].partition("\n")[0].strip("/")
    folder = _CGROUPS / own
    yield folder
    while folder != _CGROUPS and _CGROUPS in folder.parents:
        folder = folder.parent
        yield folder


def _quota(path: Path) -> float | None:
    """Return the cores that a file `cpu.max` allows, or none for no bound.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    quota, _, period = _text(path).partition(" ")
    if not (quota.isdecimal() and period.isdecimal()):
        return None
    return int(quota) / max(1, int(period))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
