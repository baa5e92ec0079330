"""How soon the service answers after its start, and how soon it converts.

    python -m benchmarks.start --repeats 7 --work /dev/shm

The real service is started in a new folder, and asked for `/livez` and `/readyz` until each answers
with 200. Prints one JSON object; exits with 1 if the median of `/livez` is beyond its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.machine import describe
from tests.service.running import REAL, START_S, Running, start

LIVE_WITHIN_S = 1.0
PAUSE_S = 0.005
PROBES = ("/livez", "/readyz")


def main() -> None:
    """Start it several times, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    turns = [one(arguments.work) for _ in range(arguments.repeats)]
    seconds = {probe: [turn[probe] for turn in turns] for probe in PROBES}
    medians = {probe: statistics.median(taken) for probe, taken in seconds.items()}
    result = {
        "benchmark": "start",
        "seconds": {
            probe: {"median": round(medians[probe], 3), "all": [round(s, 3) for s in taken]}
            for probe, taken in seconds.items()
        },
        "passed": medians["/livez"] <= LIVE_WITHIN_S,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def one(work: Path | None) -> dict[str, float]:
    """Start it once; return the seconds until each probe was answered."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        began_s = time.perf_counter()
        service = start(Path(folder), REAL, workers=None)
        try:
            return {probe: wait(service, probe, began_s) for probe in PROBES}
        finally:
            service.stop()


def wait(service: Running, probe: str, began_s: float) -> float:
    """Ask until the answer is 200; return the seconds since the start."""
    with service.client() as client:
        while time.perf_counter() - began_s < START_S:
            with contextlib.suppress(httpx.TransportError):
                if client.get(probe).status_code == httpx.codes.OK:
                    return time.perf_counter() - began_s
            time.sleep(PAUSE_S)
    raise SystemExit(f"{probe} did not answer within {START_S:g} s: {service.log.read_text()}")


if __name__ == "__main__":
    main()
