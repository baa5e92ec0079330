"""Jobs a second on one GPU and on more, with two clients for each of them.

    python -m benchmarks.gpu.parallel --seconds 20

For one GPU, for two, for four and so on up to all of this machine, the service is started with
`CONVLAST_DEVICE=cuda:0,1,…`, and converts a checkpoint of 6 kB with the default options again and
again. `passed` says whether every job was answered with its artifact. Prints one JSON object, which
`python -m benchmarks.gpu` makes part of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.checkpoints import save_tiny
from benchmarks.clients import ask, form
from benchmarks.gpu.throughput import absence
from convlast.devices import resolve
from convlast.errors import DeviceUnavailableError

CLIENTS_PER_GPU = 2
"""One whose job runs, and one whose job waits."""


def main() -> None:
    """Measure each number of GPUs, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cpu tries the program, and no speed")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each number of GPUs")
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    try:
        device = resolve(arguments.device)
    except DeviceUnavailableError as error:
        sys.exit(f"This measures GPUs. {error}")
    if reason := absence():
        print(json.dumps({"passed": True, "absent": reason}))
        return
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    found = [
        measure(device.type, gpus, arguments.seconds, arguments.work) for gpus in numbers(count)
    ]
    result = gather(count, found)
    print(json.dumps(result))
    sys.exit(0 if result["passed"] else 1)


def numbers(count: int) -> list[int]:
    """Return the powers of two up to the number of GPUs, and that number.

    >>> numbers(1), numbers(6), numbers(8)
    ([1], [1, 2, 4, 6], [1, 2, 4, 8])
    """
    return sorted({2**power for power in range(count.bit_length())} | {count})


def setting(kind: str, gpus: int) -> str:
    """Return `CONVLAST_DEVICE` for the first GPUs.

    >>> setting("cuda", 1), setting("cuda", 3), setting("cpu", 1)
    ('cuda:0', 'cuda:0,1,2', 'cpu')
    """
    return f"cuda:{','.join(map(str, range(gpus)))}" if kind == "cuda" else kind


def measure(kind: str, gpus: int, seconds: float, work: Path | None) -> dict[str, Any]:
    """Start the service on the first GPUs, and have it convert the checkpoint again and again.

    Args:
        kind: `cuda`, or `cpu` to try it.
        gpus: How many.
        seconds: How long jobs are sent.
        work: A folder for what the service writes.
    """
    from tests.service.running import REAL, start

    clients = CLIENTS_PER_GPU * gpus
    room = dict.fromkeys(("queue_size", "jobs_per_key"), 2 * clients)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        save_tiny(Path(folder, "model.pt"))
        body = form(Path(folder, "model.pt").read_bytes(), {})
        began_s = perf_counter()
        service = start(Path(folder), REAL, None, device=setting(kind, gpus), **room)
        try:
            service.wait_until_ready()
            ready_s = perf_counter() - began_s
            ask(service.url, body, clients, ready_s)  # until the other GPUs are ready as well
            found = ask(service.url, body, clients, seconds)
        finally:
            service.stop()
    return {"gpus": gpus, "clients": clients, "ready_s": ready_s, **found}


def gather(count: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the result: each number of GPUs, also in multiples of the rate of one.

    Args:
        count: How many GPUs the machine has.
        found: What was measured, first for one GPU.
    """
    one = found[0]["answers_per_s"]
    return {
        "passed": all(set(each["codes"]) == {"200"} for each in found),
        "gpus": count,
        "results": [
            {**each, "times_one": each["answers_per_s"] / one if one else None} for each in found
        ],
    }


if __name__ == "__main__":
    main()
