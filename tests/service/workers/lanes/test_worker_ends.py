"""Why workers have ended, counted for each device."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from convlast.errors import OutOfMemoryError
from service.errors import InternalError, WorkerCrashedError
from service.workers import WorkerEnd
from service.workers.lanes.worker_ends import end_without_answer
from service.workers.local import LocalWorkers
from tests.service.workers.lanes.test_lane import Client, with_lanes
from tests.service.workers.test_local import until


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (WorkerCrashedError("It crashed."), "crashed"),
        (OutOfMemoryError("It used too much memory."), "out-of-memory"),
        (asyncio.CancelledError(), "cancelled"),
        (InternalError("The job failed."), "failed"),
    ],
)
def test_each_error_has_its_cause(error: BaseException, end: WorkerEnd) -> None:
    """The error of a job says why its worker has ended."""
    assert end_without_answer(error) == end


def test_the_end_of_each_worker_is_counted_once(tmp_path: Path) -> None:
    """A job that is answered, refused, crashes or is cancelled, and an idle worker that dies."""

    async def use(workers: LocalWorkers) -> None:
        def ends() -> dict[Any, int]:
            (lane,) = workers.health().lanes
            return {cause: count for cause, count in lane.worker_ends.items() if count}

        client = Client(tmp_path, workers)
        for content in (b"fine", b"refuses", b"crashes"):
            await asyncio.gather(client.send(content), return_exceptions=True)
        assert ends() == {"answered": 2, "crashed": 1}
        running = client.send(b"hangs")
        await until(lambda: workers.health().lanes[0].jobs == 4)
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert ends() == {"answered": 2, "crashed": 1, "cancelled": 1}
        await until(lambda: bool(idle(workers)))
        os.kill(idle(workers)[0], signal.SIGKILL)
        await until(lambda: not idle(workers) or not is_alive(workers))
        await client.send(b"fine")
        assert ends() == {"answered": 3, "crashed": 1, "cancelled": 1, "died-idle": 1}
        (lane,) = workers.health().lanes
        assert lane.worker_starts >= 6

    with_lanes(use, tmp_path)


def idle(workers: LocalWorkers) -> list[int]:
    """Return the processes of the idle workers."""
    return [each.process.pid or 0 for lane in workers._lanes for each in lane._idle]


def is_alive(workers: LocalWorkers) -> bool:
    """Return whether the first idle worker still answers."""
    return workers._lanes[0]._idle[0].can_work()
