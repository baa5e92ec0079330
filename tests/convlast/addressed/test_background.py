from __future__ import annotations

import asyncio
import threading

import pytest

from convlast.addressed.background import Background
from convlast.stores.together import together


async def number() -> int:
    """Return a number, a little later."""
    await asyncio.sleep(0)
    return 7


async def failure() -> None:
    """Fail, a little later."""
    await asyncio.sleep(0)
    raise ValueError("no")


class Endless:
    """Work that ends only when it is cancelled."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.is_cleaned = False

    async def run(self) -> None:
        """Wait, and clean up afterwards."""
        try:
            self.has_begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.is_cleaned = True


def test_work_has_its_result_or_raises_its_error() -> None:
    """What is awaited in the background has the outcome that it has anywhere."""
    with Background() as background:
        assert background.run(number()) == 7
        with pytest.raises(ValueError, match="no"):
            background.run(failure())


def test_what_is_left_is_cancelled_and_cleans_up() -> None:
    """At the end nothing runs any more, and the thread is gone."""
    work, threads = Endless(), threading.active_count()
    with Background() as background:
        background.start(work.run())
        assert work.has_begun.wait(60)
    assert work.is_cleaned
    assert threading.active_count() == threads


def test_an_interruption_ends_what_runs() -> None:
    """An exception of the thread that waits is raised after the work was cancelled."""
    work = Endless()

    def interrupted() -> None:
        with Background() as background:
            background.start(work.run())
            assert work.has_begun.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert work.is_cleaned


def test_what_fails_first_ends_the_rest() -> None:
    """Of several works the first error is raised, and the others have cleaned up by then."""
    work = Endless()
    with Background() as background, pytest.raises(ValueError, match="no"):
        background.run(together([work.run(), failure()]))
    assert work.is_cleaned
