"""How long a small job of one key waits behind sixteen long jobs of another key.

    python -m benchmarks.fairness --work /dev/shm
    python -m benchmarks.fairness --workers 1 2 4 --work /dev/shm

The first key always has sixteen long jobs in the service. From time to time the second key sends
one small job. Its wait is the time that it takes beyond that of the same job in the idle service.
With `--workers` a service is started for each number, as `CONVLAST_WORKERS`. Prints one JSON
object; exits with 1 if a small job waited much longer than one long job takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.checkpoints import save_checkpoint, save_tiny
from benchmarks.machine import describe
from tests.service.running import REAL, start

LONG_JOBS = 16
ALLOWED_LONG_JOBS = 1.5
"""The rest of a running job is at most one long job; half of one is left for noise."""
ALONE = 5
"""How often the small job is sent to the idle service."""
TIMEOUT_S = 600.0


def main() -> None:
    """Measure each number of workers, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[], help="CONVLAST_WORKERS")
    parser.add_argument("--megabytes", type=float, default=16, help="of the long job's file")
    parser.add_argument("--samples", type=int, default=10, help="how many small jobs wait")
    parser.add_argument("--quick", action="store_true", help="see that it works, and no times")
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.megabytes, arguments.samples = 1, 1
    numbers: Sequence[int | None] = arguments.workers or [None]
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        folder = Path(name)
        save_checkpoint(folder / "long.pt", arguments.megabytes)
        save_tiny(folder / "small.pt")
        results = [serve(folder, number, arguments.samples) for number in numbers]
    result = {
        "benchmark": "fairness",
        "long_jobs": LONG_JOBS,
        "megabytes": arguments.megabytes,
        "results": results,
        "passed": all(each["passed"] for each in results),
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def serve(folder: Path, workers: int | None, samples: int) -> dict[str, Any]:
    """Start a service for two keys, and measure it."""
    keys = {name: secrets.token_urlsafe(24) for name in ("busy", "other")}
    keyfile = folder / "keys"
    keyfile.touch(mode=0o600)
    keyfile.write_text("".join(f"{name}:{key}\n" for name, key in keys.items()))
    settings: dict[str, Any] = {"api_keys_file": keyfile, "jobs_per_key": 2 * LONG_JOBS}
    settings |= {"work_dir": folder / f"workers-{workers}"}
    service = start(folder, REAL, None, **settings, workers=workers)
    try:
        service.wait_until_ready()
        long, small = (folder / "long.pt").read_bytes(), (folder / "small.pt").read_bytes()
        found = asyncio.run(measure(service.url, keys, long, small, samples))
    finally:
        service.stop()
    return {"workers": workers, **found}


async def measure(
    url: str, keys: Mapping[str, str], long: bytes, small: bytes, samples: int
) -> dict[str, Any]:
    """Send small jobs to the idle service, and then behind long ones.

    Args:
        url: Of the service.
        keys: One for `busy` and one for `other`.
        long: The checkpoint of a long job.
        small: That of a small one.
        samples: How many small jobs are sent behind long ones.
    """
    async with _client(url, keys["other"]) as other:
        await send(other, small, smoke="none")  # opens the connection
        alone_s = [(await send(other, small, smoke="none"))[0] for _ in range(ALONE)]
        async with crowd(url, keys["busy"], long) as long_s:
            taken_s = []
            for _ in range(samples):
                await asyncio.sleep(random.uniform(0, median(long_s)))
                taken_s.append((await send(other, small, smoke="none"))[0])
    return judge(long_s, alone_s, taken_s)


@asynccontextmanager
async def crowd(url: str, key: str, content: bytes) -> AsyncIterator[list[float]]:
    """Keep long jobs in the service; yield the seconds of those that have ended."""
    long_s: list[float] = []
    is_full = asyncio.Event()

    async def keep_sending() -> None:
        async with _client(url, key) as client:
            while True:
                long_s.append((await send(client, content))[1])
                if len(long_s) >= LONG_JOBS:  # now every client has sent its file
                    is_full.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keep_sending()) for _ in range(LONG_JOBS)]
        await is_full.wait()
        yield long_s
        for task in tasks:
            task.cancel()  # which disconnects, and so ends their jobs


async def send(client: httpx.AsyncClient, content: bytes, **fields: str) -> tuple[float, float]:
    """Convert a checkpoint; return the seconds of the request, and those of the job in a worker.

    Raises:
        httpx.HTTPStatusError: If it was refused.
    """
    began_s = time.perf_counter()
    # Without a name of its own, it would join the job of another client with the same file.
    files = {"checkpoint": (f"{secrets.token_hex(4)}.pt", content)}
    answer = await client.post("/convert", files=files, data=fields)
    taken_s = time.perf_counter() - began_s
    answer.raise_for_status()
    told = re.search(r"convert;dur=([\d.]+)", answer.headers["server-timing"])
    assert told is not None
    return taken_s, float(told[1]) / 1e3


def _client(url: str, key: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)


def judge(
    long_s: Sequence[float], alone_s: Sequence[float], taken_s: Sequence[float]
) -> dict[str, Any]:
    """Return how long the small jobs waited, in seconds and in long jobs.

    Args:
        long_s: What long jobs took in their workers.
        alone_s: What small requests took in the idle service.
        taken_s: What they took behind long jobs.
    """
    long, alone = median(long_s), median(alone_s)
    waits_s = [max(0.0, taken - alone) for taken in taken_s]
    worst = max(waits_s) / long
    return {
        "long_s": round(long, 3),
        "alone_s": round(alone, 4),
        "waits_s": [round(wait, 4) for wait in waits_s],
        "median_wait_s": round(median(waits_s), 4),
        "worst_wait_s": round(max(waits_s), 4),
        "long_jobs_waited": round(worst, 3),
        "passed": worst <= ALLOWED_LONG_JOBS,
    }


if __name__ == "__main__":
    main()
