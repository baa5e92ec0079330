"""What a job costs more on a Ray cluster than on one machine, and how much more three nodes do.

    PYTHONPATH=.venv/ray scripts/alone.sh .venv/bin/python -m benchmarks.ray

`make ray` installs Ray. The task is fake, and sleeps, so that three nodes of one machine do not
share its cores; its artifact is a copy of the checkpoint. Jobs run in turn on local workers and on
one node of a cluster. The median of the differences is what Ray costs, for a checkpoint of a few
bytes, which has the limit; and what Ray and the store cost together, for one of 1 MiB, which goes
through the store as its artifact does. Then jobs run on one node and on three. Prints one JSON
object; exits with 1 if a limit does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from service.app import local_workers
from service.ray_engine.workers import RayWorkers
from service.settings import Settings
from service.workers import Job, JobFiles, Workers
from tests.service.listening import Heard
from tests.service.ray_engine.clusters import RayNodes, started

MOST_MS = 20.0
LEAST_RATIO = 2.6
NODES = 3
SMALL_BYTES, LARGE_BYTES = 32, 1 << 20
LOCAL_TASK, RAY_TASK = "tests.service.fakes", "tests.service.ray_engine.tasks"

_numbers = count()


async def measure(cluster: RayNodes, jobs: int, sleep_s: float) -> dict[str, Any]:
    """Measure the cost of a job, and then the throughput of one node and of three."""
    settings = Settings.model_validate(cluster.settings | {"work_dir": cluster.folder / "work"})
    ray, local = RayWorkers.of(settings, task=RAY_TASK), local_workers(settings, "cpu", LOCAL_TASK)
    async with AsyncExitStack() as running:
        for workers in (ray, local):
            await workers.start()
            running.push_async_callback(workers.stop)
            await until(partial(is_ready, workers))
        compared = [
            await compare(
                local,
                ray,
                partial(run, folder=cluster.folder, sleep_s=sleep_s, nbytes=nbytes),
                jobs,
            )
            for nbytes in (SMALL_BYTES, LARGE_BYTES)
        ]
        together = jobs // 2 * NODES
        one_s = await timed(many(ray, cluster.folder, together))
        for _ in range(NODES - 1):
            await asyncio.to_thread(cluster.add)
        await until(lambda: sum(lane.ready for lane in ray.health().lanes) == NODES)
        three_s = await timed(many(ray, cluster.folder, together))
    return {
        "jobs": jobs,
        "small": {"checkpoint_bytes": SMALL_BYTES, **compared[0]},
        "large": {"checkpoint_bytes": LARGE_BYTES, **compared[1]},
        "jobs_together": together,
        "one_node_s": round(one_s, 2),
        "three_nodes_s": round(three_s, 2),
        "ratio": round(one_s / three_s, 2),
    }


async def compare(
    local: Workers, ray: Workers, run_one: Callable[[Workers], Awaitable[None]], jobs: int
) -> dict[str, float]:
    """Run jobs in turn on this machine and on a node, and return the medians."""
    locally, remotely = [], []
    for _ in range(jobs):
        locally.append(1000 * await timed(run_one(local)))
        remotely.append(1000 * await timed(run_one(ray)))
    differences = [there - here for there, here in zip(remotely, locally, strict=True)]
    return {
        "local_ms": round(statistics.median(locally), 1),
        "ray_ms": round(statistics.median(remotely), 1),
        "more_ms": round(statistics.median(differences), 1),
    }


async def many(workers: Workers, folder: Path, jobs: int) -> None:
    """Run many jobs at once, which sleep for a second each."""
    await asyncio.gather(*(run(workers, folder, sleep_s=1.0) for _ in range(jobs)))


def is_ready(workers: Workers) -> bool:
    """Return whether a job would be run."""
    return workers.health().ready


async def run(workers: Workers, folder: Path, *, sleep_s: float, nbytes: int = LARGE_BYTES) -> None:
    """Run one job that sleeps, on a checkpoint of this size."""
    number = next(_numbers)
    source, made = folder / f"source-{number}", folder / f"made-{number}"
    made.mkdir()
    source.write_bytes((b"sleeps %f #%d " % (sleep_s, number)).ljust(nbytes, b"."))
    job = Job(id=f"job-{number}", verb="convert", filename="m.pt")
    await workers.run(job, JobFiles(source, made), Heard(), share="a client")


async def timed(work: Awaitable[None]) -> float:
    """Return how long work takes, in seconds."""
    began_at = time.perf_counter()
    await work
    return time.perf_counter() - began_at


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110  # other processes make it true
            await asyncio.sleep(0.05)


def leave() -> None:
    """Leave the cluster before it is killed, or Ray tells what has become of it."""
    import ray  # not earlier, since it reads then how to authenticate

    ray.shutdown()


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--sleep-s", type=float, default=0.3, help="of each job that is compared")
    arguments = parser.parse_args()
    with started(nodes=1) as cluster:
        found = asyncio.run(measure(cluster, arguments.jobs, arguments.sleep_s))
        leave()
    passed = found["small"]["more_ms"] <= MOST_MS and found["ratio"] >= LEAST_RATIO
    result = {"benchmark": "ray", **found, "passed": passed, "machine": describe()}
    print(json.dumps(result, indent=2))
    sys.exit(0 if passed else 1)
