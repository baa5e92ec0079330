"""How long it takes to cancel a job on a Ray cluster, and whether its process is gone then.

    PYTHONPATH=.venv/ray scripts/alone.sh .venv/bin/python -m benchmarks.ray.cancel --tries 100

A job of the fake task is at work on one of three nodes when it is cancelled, at a random moment.
When DELETE is answered, no process may have its file open. Prints one JSON object; exits with 1 if
a process was left, or if the 99th percentile of the answers is above its limit.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time

import httpx

from benchmarks.jobs.cancel import P99_S, percentile_99
from benchmarks.machine import describe
from tests.service.ray_engine.clusters import at_work, started
from tests.service.running import FAKE, served, wait_for

MOST_PAUSE_S = 0.3


def main() -> None:
    """Cancel jobs, and print how long that took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lot = random.Random(arguments.seed)
    with (
        started(arguments.nodes) as cluster,
        served(cluster.folder, FAKE, **cluster.settings) as service,
        service.client(headers={"Prefer": "respond-async"}) as client,
    ):
        tries = [cancelled(client, number, lot) for number in range(arguments.tries)]
    taken_s = [seconds for seconds, _ in tries]
    left = sum(processes for _, processes in tries)
    p99_s = percentile_99(taken_s)
    passed = not left and p99_s < P99_S
    result = {
        "benchmark": "ray cancel",
        "tries": len(tries),
        "nodes": arguments.nodes,
        "median_s": round(statistics.median(taken_s), 4),
        "p99_s": round(p99_s, 4),
        "longest_s": round(max(taken_s), 4),
        "processes_left": left,
        "passed": passed,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if passed else 1)


def cancelled(client: httpx.Client, number: int, lot: random.Random) -> tuple[float, int]:
    """Cancel a job at work; return how long that took, and how many of its processes are left."""
    content = b"sleeps 60 #cancel %d" % number
    answer = client.post("/convert", files={"checkpoint": ("m.pt", content)})
    link = answer.raise_for_status().json()["links"]["self"]
    wait_for(lambda: at_work(content))
    time.sleep(lot.uniform(0, MOST_PAUSE_S))
    began_s = time.perf_counter()
    state = client.delete(link).raise_for_status().json()["state"]
    taken_s = time.perf_counter() - began_s
    left = len(at_work(content))
    assert state == "cancelled", state
    return taken_s, left


if __name__ == "__main__":
    main()
