"""Jobs a second on a GPU, where each has a process of its own that has to start CUDA.

    python -m benchmarks.gpu.throughput --jobs 8

The service converts a checkpoint of 6 kB with the default options, one job after the other. The
first one finds a worker that is warm; each of the next waits in the queue until its worker is.
`warm_up_s` is what a worker's warm-up takes, step by step, in a process that does nothing else.
`passed` says whether every job was answered with its artifact. Prints one JSON object, which
`python -m benchmarks.gpu` makes part of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.checkpoints import save_tiny
from convlast.devices import resolve
from convlast.errors import DeviceUnavailableError
from convlast.smoke import device_health as health
from service.workers.warming import steps_on

NEEDED = ("service.__main__", "tests.service.running")
"""What starts the service, and asks it; their packages are not those of the other benchmarks."""


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cpu tries the program, and no speed")
    parser.add_argument("--jobs", type=int, default=8, help="after the first")
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    try:
        device = resolve(arguments.device)
    except DeviceUnavailableError as error:
        sys.exit(f"This measures a GPU. {error}")
    if reason := absence():
        print(json.dumps({"passed": True, "absent": reason}))
        return
    found = measure(device, arguments.jobs, arguments.work)
    print(json.dumps({**found, "warm_up_s": time_warm_up(device)}))
    sys.exit(0 if found["passed"] else 1)


def absence() -> str | None:
    """Say which package of the service is not installed; None where all are."""
    try:
        for module in NEEDED:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        return str(error)
    return None


def measure(device: torch.device, jobs: int, work: Path | None) -> dict[str, Any]:
    """Start the service on a device, and have it convert the checkpoint again and again.

    Args:
        device: Where.
        jobs: How often after the first time.
        work: A folder for what the service writes.
    """
    from tests.service.running import REAL, start

    with tempfile.TemporaryDirectory(dir=work) as folder:
        source = Path(folder, "model.pt")
        save_tiny(source)
        began_s = perf_counter()
        service = start(Path(folder), REAL, device=device)
        try:
            service.wait_until_ready()
            ready_s = perf_counter() - began_s
            with service.client() as client:
                content = source.read_bytes()
                first, *others = (convert(client, content, f"{i}.pt") for i in range(1 + jobs))
        finally:
            service.stop()
    seconds = [each["seconds"] for each in others]
    return {
        "passed": all(each["status"] == 200 for each in (first, *others)),
        "ready_s": ready_s,
        "first_s": first["seconds"],
        "next_s": {"median": median(seconds), "all": seconds},
        "queue_s": median(each["queue_s"] for each in others),
        "jobs_per_s": jobs / sum(seconds),
    }


def time_warm_up(device: torch.device) -> dict[str, float]:
    """Do what a worker does before its first job, here; return the seconds of each step."""
    began_s = perf_counter()
    torch.zeros(1, device=device)
    health.wait_for(device)
    seconds = {"device": perf_counter() - began_s}
    for name, step in steps_on(device).items():
        began_s = perf_counter()
        step(device)
        health.wait_for(device)
        seconds[name] = perf_counter() - began_s
    return seconds


def convert(client: Any, checkpoint: bytes, filename: str) -> dict[str, float]:
    """Convert once; return the status, the seconds, and those that the job waited for a worker.

    The service does no job again that is the same in everything, its file name too.
    """
    began_s = perf_counter()
    answer = client.post("/convert", files={"checkpoint": (filename, checkpoint)})
    seconds = perf_counter() - began_s
    queued = re.search(r"queue;dur=([\d.]+)", answer.headers.get("server-timing", ""))
    queue_s = float(queued[1]) / 1e3 if queued else 0.0
    return {"status": answer.status_code, "seconds": seconds, "queue_s": queue_s}


if __name__ == "__main__":
    main()
