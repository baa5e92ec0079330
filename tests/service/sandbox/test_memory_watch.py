"""The watch on a worker's memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.sandbox.memory_watch import MemoryWatch, Usage

MIB = 1 << 20
PRIVATE = "held = b'x' * (200 << 20)"
SHARED = "import mmap; held = mmap.mmap(-1, 200 << 20); held.write(b'x' * (200 << 20))"
MAPPED = (
    "import mmap; f = open('mapped', 'w+b'); f.write(b'x' * (100 << 20)); f.flush(); "
    "held = mmap.mmap(f.fileno(), 0); [held[at] for at in range(0, 100 << 20, 4096)]"
)
TABLES = (
    "import mmap; held = mmap.mmap(-1, 40 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,"
    " mmap.PROT_READ); held.madvise(mmap.MADV_NOHUGEPAGE);"
    " [held[at] for at in range(0, 40 << 30, 2 << 20)]"
)
THREADED = (
    "import threading; "
    "[threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(20)]"
)


@contextmanager
def process_that(script: str, folder: Path | None = None) -> Iterator[int]:
    """Run a script that then waits, and yield its process."""
    command = [sys.executable, "-c", f"{script}\nprint('done', flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    ("script", "expected"), [(PRIVATE, "memory"), (SHARED, "memory"), ("", None)]
)
def test_memory_over_the_limit_is_noticed(script: str, expected: str | None) -> None:
    """Private and shared memory count; a process below the limit is not reported."""
    with process_that(script) as pid:
        assert MemoryWatch(pid, max_bytes=150 * MIB).excess() == expected


def test_page_tables_count() -> None:
    """Page tables count: reading single bytes in a wide mapping needs many."""
    with process_that(TABLES) as pid:
        assert MemoryWatch(pid, max_bytes=70 * MIB).excess() == "memory"
    with process_that("") as pid:
        assert MemoryWatch(pid, max_bytes=70 * MIB).excess() is None


def test_memory_that_was_swapped_out_counts() -> None:
    """Swapped-out memory counts."""
    status = "RssAnon:\t1024 kB\nVmSwap:\t2048 kB\nHugetlbPages:\t4096 kB\nThreads:\t1\n"
    assert Usage.parse(status).memory_bytes == 7 * MIB


def test_mapped_files_do_not_count(tmp_path: Path) -> None:
    """Pages of mapped files on a disk do not count."""
    with process_that(MAPPED, tmp_path) as pid:
        if "RssShmem:\t       0" not in Path(f"/proc/{pid}/status").read_text():
            pytest.skip("the folder of the tests lies in memory")
        assert MemoryWatch(pid, max_bytes=80 * MIB).excess() is None


def test_threads_over_the_limit_are_noticed() -> None:
    """A process with too many threads is reported."""
    with process_that(THREADED) as pid:
        watch = MemoryWatch(pid, max_bytes=1 << 40, max_threads=10)
        assert watch.excess() == "threads"


def test_watch_waits_until_there_is_too_much() -> None:
    """`wait_for_excess` returns once the limit is exceeded, not before."""

    async def wait() -> str:
        with process_that("") as pid:
            patient = MemoryWatch(pid, max_bytes=1 << 40, interval_s=0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await patient.wait_for_excess()
            return await MemoryWatch(pid, max_bytes=1, interval_s=0.01).wait_for_excess()

    assert asyncio.run(wait()) == "memory"


def test_process_that_has_ended_is_no_excess() -> None:
    """A process that has ended, or is a zombie, uses nothing."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert MemoryWatch(process.pid, max_bytes=0).excess() is None
    ending = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ending.stdout is not None
    with ending, ending.stdout as ended:
        ended.read()
        assert MemoryWatch(ending.pid, max_bytes=0).excess() is None
