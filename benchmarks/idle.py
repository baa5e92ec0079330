"""How much memory the idle service takes, by the number of workers that wait warm.

    python -m benchmarks.idle --work /dev/shm
    python -m benchmarks.idle --warm 1 2 4 8 --work /dev/shm

The service is started for each number, as `CONVLAST_WARM_WORKERS`; `--warm` without a number leaves
its default. When its processes and their memory no longer change, their proportional set sizes are
added: memory that several processes share counts once. Prints one JSON object; exits with 1 if two
warm workers take much more than one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults import is_worker
from benchmarks.machine import describe
from benchmarks.peak import share_kib
from tests.service.running import REAL, Running, start

TIMES_ONE = 1.3
"""What two warm workers may take, against one."""

STEADY_S, STEADY_SHARE = 3.0, 0.01
"""Memory is steady if it has changed by no more than this share for so long."""
WITHIN_S = 60.0


def main() -> None:
    """Measure each number of warm workers, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--warm", type=int, nargs="*", default=[1, 2, 4], help="warm workers")
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    numbers: Sequence[int | None] = arguments.warm or [None]
    results = [one(number, arguments.work) for number in numbers]
    times = times_one(results)
    result = {
        "benchmark": "idle",
        "results": results,
        "two_against_one": times,
        "passed": times is None or times <= TIMES_ONE,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def one(warm_workers: int | None, work: Path | None) -> dict[str, Any]:
    """Start the service, and return its memory when it is idle."""
    settings = {} if warm_workers is None else {"warm_workers": warm_workers}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        service = start(Path(folder), REAL, None, **settings, workers=None)
        try:
            service.wait_until_ready()
            kib = steady(partial(memory_of, service))
            processes = len(service.descendants()) + 1
        finally:
            service.stop()
    mib = {name: round(amount / 1024, 1) for name, amount in kib.items()}
    return {"warm_workers": warm_workers, "processes": processes, "mib": mib}


def steady(read: Callable[[], Counter[str]]) -> Counter[str]:
    """Return memory once it no longer changes.

    Args:
        read: Returns it as `memory_of` does.

    Raises:
        SystemExit: If it still changes after a minute.
    """
    began_s = since_s = time.monotonic()
    known = read()
    while time.monotonic() - since_s < STEADY_S:
        time.sleep(0.2)
        found = read()
        if abs(found["all"] - known["all"]) > STEADY_SHARE * known["all"]:
            known, since_s = found, time.monotonic()
        if time.monotonic() - began_s > WITHIN_S:
            raise SystemExit(f"The memory still changed after {WITHIN_S:g} s.")
    return found


def memory_of(service: Running) -> Counter[str]:
    """Return the memory of the service, its fork server and its workers, and of all, in KiB."""
    found: Counter[str] = Counter()
    for pid in {service.process.pid, *service.descendants()}:
        part = "workers" if is_worker(pid) else "fork_server"
        if pid == service.process.pid:
            part = "service"
        kib = share_kib(pid, "Pss")
        found.update({part: kib, "all": kib})
    return found


def times_one(results: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the memory with two warm workers over that with one; none if one was not measured."""
    mib = {each["warm_workers"]: each["mib"]["all"] for each in results}
    return round(mib[2] / mib[1], 3) if {1, 2} <= mib.keys() else None


if __name__ == "__main__":
    main()
