"""Work that may hang, in a thread that does not keep the process from ending."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.threads import in_daemon
from tests.service.jobs.boards import in_loop

ROOT = Path(__file__).parents[2]
HANGS = """
import asyncio, threading
from service.threads import in_daemon

async def main():
    in_daemon("hangs", threading.Event().wait)

asyncio.run(main())
"""


@in_loop
async def test_the_result_comes_from_another_thread() -> None:
    """It is a thread of its own, with the name that was given."""
    assert await in_daemon("name", lambda: threading.current_thread().name) == "name"


@in_loop
async def test_what_the_work_raises_is_raised() -> None:
    """Who waits for it learns why there is no result."""
    with pytest.raises(ValueError, match="invalid literal"):
        await in_daemon("raises", lambda: int("one"))


@in_loop
async def test_nobody_is_told_who_has_given_up() -> None:
    """The result of a cancelled future is dropped, and the loop has nothing to complain of."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    go_on = threading.Event()
    in_daemon("given up", go_on.wait).cancel()
    (thread,) = (each for each in threading.enumerate() if each.name == "given up")
    go_on.set()
    thread.join()
    await asyncio.sleep(0)
    assert complaints == []


def test_work_that_hangs_does_not_keep_the_process() -> None:
    """The process ends with its main thread."""
    subprocess.run([sys.executable, "-c", HANGS], cwd=ROOT, check=True, timeout=60)


def test_work_that_ends_after_its_loop_is_forgotten() -> None:
    """Nobody waits for its result any more, and nothing is raised for it."""
    go_on, threads = threading.Event(), []

    def work() -> None:
        threads.append(threading.current_thread())
        go_on.wait()

    @in_loop
    async def begin() -> None:
        in_daemon("late", work)

    begin()
    go_on.set()
    for thread in threads:
        thread.join()
