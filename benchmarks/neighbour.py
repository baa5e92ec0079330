"""A conversion beside a process that keeps a core busy, against the same one without it.

    python -m benchmarks.neighbour --repeats 5 --work /dev/shm

The service converts a checkpoint whose smoke computes on all cores, with a neighbour and without,
in turn. `asleep` is as the service sets it up: OpenMP's threads sleep while they wait. `spinning`
is what OpenMP does by itself. Prints one JSON object; exits with 1 if a neighbour makes `asleep`
slower than its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from tests.service.running import REAL, Running, start

TIMES_QUIET = 3.0
WARM_UP_S = 1.0
"""How long the next worker is given, so that no job waits for it."""

SPINS = {"asleep": None, "spinning": "300000"}
"""GOMP_SPINCOUNT, which goes before OMP_WAIT_POLICY: how often a thread looks before it sleeps.

Source: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
"""


def main() -> None:
    """Measure both, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        found = {name: measure(name, arguments.repeats, Path(folder, name)) for name in SPINS}
    result = {
        "benchmark": "neighbour",
        "results": found,
        "passed": found["asleep"]["times_quiet"] <= TIMES_QUIET,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def measure(name: str, repeats: int, folder: Path) -> dict[str, Any]:
    """Convert the checkpoint several times, without the neighbour and with it."""
    folder.mkdir()
    checkpoint = save_checkpoint(folder / "model.pt")
    quiet_s, beside_s = [], []
    with service(folder, SPINS[name]) as running:
        convert(running, checkpoint)
        for _ in range(repeats):
            quiet_s.append(convert(running, checkpoint))
            with neighbour():
                beside_s.append(convert(running, checkpoint))
    return {
        "quiet_s": [round(s, 3) for s in quiet_s],
        "beside_s": [round(s, 3) for s in beside_s],
        "times_quiet": round(statistics.median(beside_s) / statistics.median(quiet_s), 2),
    }


def save_checkpoint(path: Path) -> bytes:
    """Save convolutions whose smoke has many parts that threads share; return the bytes."""
    layers = [torch.nn.Conv3d(64, 64, 3) for _ in range(12)]
    torch.save(torch.nn.Sequential(*layers).state_dict(), path)
    return path.read_bytes()


@contextlib.contextmanager
def service(folder: Path, spins: str | None) -> Iterator[Running]:
    """Start the service on the CPU, with threads that spin so often, or as it sets them up."""
    os.environ.pop("OMP_WAIT_POLICY", None)
    os.environ.pop("GOMP_SPINCOUNT", None)
    if spins is not None:
        os.environ["GOMP_SPINCOUNT"] = spins
    running = start(folder, REAL, device="cpu", workers=None)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """Keep one core busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def convert(running: Running, checkpoint: bytes) -> float:
    """Convert with default options by a worker that is warm; return the seconds."""
    time.sleep(WARM_UP_S)
    began_s = time.perf_counter()
    answer = running.convert(checkpoint)
    taken_s = time.perf_counter() - began_s
    assert answer.status_code == 200, answer.text
    return taken_s


if __name__ == "__main__":
    main()
