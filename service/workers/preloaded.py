"""How the fork server starts: its environment, and the modules that it imports, in order."""

from __future__ import annotations

from collections.abc import MutableMapping

from service.workers import child

CONVERSION = "service.workers.conversion"
"""The task of the service; tests have others."""

REHEARSAL = "service.workers.rehearsal"
FREEZING = "service.workers.freezing"
"""Imported by the fork server only, as its last module."""


def preloaded(task: str) -> list[str]:
    """Return what the fork server imports for a task.

    >>> preloaded("tests.service.fakes")
    ['tests.service.fakes', 'service.workers.child', 'service.workers.freezing']
    """
    rehearsals = [REHEARSAL] if task == CONVERSION else []
    return [task, child.__name__, *rehearsals, FREEZING]


def use_large_pages(environment: MutableMapping[str, str]) -> None:
    """Make the fork server's memory cheaper to fork, unless the environment says otherwise.

    A fork copies an entry for each page of memory, and the end of a process frees them. With pages
    of 2 MiB a fork and an exit took 5 ms instead of 15. A page that a worker writes to is split, so
    a worker copies no more than 4 KiB. Both variables are read when a process starts, and Python's
    own allocator does not ask for large pages.

    Source: https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
    """
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    environment.setdefault("PYTHONMALLOC", "malloc")
