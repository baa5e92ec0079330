"""Copies the memory that a job will write to before the job comes.

A worker shares its memory with the fork server, and the kernel copies each page of 4 KiB when the
worker first writes to it. A small job writes to some 3,000, mostly to count references, and waits
for each. The fork server lets one of its children do such a job, and notes the pages that the child
has copied. Every later worker copies them while it warms up.

This changes no content, and nothing depends on it: a page that was not foreseen is copied later.

Source: madvise(2) for MADV_POPULATE_WRITE, https://docs.kernel.org/admin-guide/mm/pagemap.html
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress

from service.sandbox.kernel import prctl
from service.workers.large_pages import Range, advise, private_memory

_POPULATE_WRITE = 23
_PR_SET_THP_DISABLE = 41
_PRESENT, _EXCLUSIVE = 1 << 63, 1 << 56
_ENTRY_BYTES = 8


def use_small_pages() -> None:
    """Let this process get new memory in small pages; what it has inherited stays as it is.

    The kernel clears a whole large page at the first write, and may move others to make room for
    it. That pays for the fork server, whose memory lasts, see `large_pages`.
    """
    with suppress(OSError):
        prctl(_PR_SET_THP_DISABLE, 1)


def copied_by(work: Callable[[], object]) -> list[Range]:
    """Return the memory that a child of this process copies when it does some work.

    Nothing is returned if the kernel does not tell. The process must have one thread.
    """
    shared = list(private_memory())
    done, says_done = os.pipe()
    goes_on, lets_go_on = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.close(lets_go_on)
            use_small_pages()
            work()
            os.write(says_done, b"x")
            os.read(goes_on, 1)
        os._exit(0)
    os.close(says_done)
    try:
        os.read(done, 1)
        return list(_merged(_exclusive_pages(child, shared)))
    except OSError:
        return []
    finally:
        for descriptor in (done, goes_on, lets_go_on):
            os.close(descriptor)
        os.waitpid(child, 0)


def copy(ranges: list[Range]) -> None:
    """Copy memory that this process shares with the one that forked it."""
    for each in ranges:
        advise(each, _POPULATE_WRITE)


def _exclusive_pages(pid: int, ranges: list[Range]) -> Iterator[int]:
    """Yield the addresses of pages that a process shares with no other.

    Raises:
        OSError: If the kernel does not tell.
    """
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, size_bytes in ranges:
            count = size_bytes // mmap.PAGESIZE
            offset = start // mmap.PAGESIZE * _ENTRY_BYTES
            entries = array("Q", os.pread(pagemap, count * _ENTRY_BYTES, offset))
            for number, entry in enumerate(entries):
                if entry & _PRESENT and entry & _EXCLUSIVE:
                    yield start + number * mmap.PAGESIZE
    finally:
        os.close(pagemap)


def _merged(pages: Iterator[int]) -> Iterator[Range]:
    """Join pages that follow one another.

    >>> list(_merged(iter([0, mmap.PAGESIZE, 5 * mmap.PAGESIZE]))) == [(0, 8192), (20480, 4096)]
    True
    """
    start = end = -1
    for page in pages:
        if page != end and end >= 0:
            yield start, end - start
        if page != end:
            start = page
        end = page + mmap.PAGESIZE
    if end >= 0:
        yield start, end - start
