"""How long it takes to cancel a job, and whether its process and its files are gone then.

    python -m benchmarks.jobs.cancel --tries 100 --work /dev/shm

A few jobs always wait or run, each with a file of its own. They are cancelled one by one, at random
moments. When DELETE is answered, the worker's process group must be gone, and of the job only its
record may be left: `request.json`, its attempts and `outcome.json`. A second DELETE removes that
too. Prints one JSON object; exits with 1 if anything was left, or if the 99th percentile of the
answers is above its limit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch
from safetensors.torch import save

from benchmarks.machine import describe
from convlast.jobs import FINISHED
from service.access.keyfile import ANONYMOUS
from service.storage.inputs import InputKey
from tests.service.running import FAKE, REAL, Running, start

P99_S = 2.0
LIVE_JOBS = 5
"""How many jobs wait or run at any moment."""

MOST_PAUSE_S = 0.6
_RECORD = re.compile(r"request\.json|outcome\.json|attempt-\d+")

Make = Callable[[int], bytes]
"""Returns the file of a job by its number."""


def main() -> None:
    """Cancel jobs of the real task, and print how long that took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--megabytes", type=float, default=8, help="of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fake", action="store_true", help="jobs that sleep")
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    make = sleeping if arguments.fake else different(checkpoint(arguments.megabytes))
    module = FAKE if arguments.fake else REAL
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        service = start(Path(folder), module, device="cpu")
        try:
            service.wait_until_ready()
            found = Trial(service, make, random.Random(arguments.seed)).run(arguments.tries)
        finally:
            service.stop()
    result = {"benchmark": "cancel", "seed": arguments.seed, **found, "machine": describe()}
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def checkpoint(megabytes: float) -> bytes:
    """Return a safetensors file of this size, whose last bytes may be anything."""
    weight = torch.randn(64, 64, 3, 3, 3)  # small ones: their smoke takes longer than to send them
    count = max(1, round(megabytes * 2**20 / weight.nbytes))
    return save({f"{number:03}.weight": weight + number for number in range(count)})


def different(content: bytes) -> Make:
    """Return what makes files that differ in their last bytes."""
    return lambda number: content[:-4] + number.to_bytes(4, "little")


def sleeping(number: int) -> bytes:
    """Return a file with which the fake task sleeps."""
    return b"sleeps 60 #%d" % number


@dataclass
class Live:
    """A job that waits or runs."""

    id: str
    sha256: str


@dataclass
class Trial:
    """A service, and the jobs in it that are cancelled."""

    service: Running
    make: Make
    lot: random.Random
    taken_s: list[float] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    """How many jobs waited and ran when they were cancelled."""
    wrong: list[str] = field(default_factory=list)
    _live: list[Live] = field(default_factory=list)
    _submitted: int = 0

    def run(self, tries: int) -> dict[str, Any]:
        """Cancel this many jobs, and return the figures."""
        with self.service.client() as client:
            while len(self.taken_s) < tries and not self.wrong:
                while len(self._live) < LIVE_JOBS:
                    self._submit(client)
                time.sleep(self.lot.uniform(0, MOST_PAUSE_S))
                self._live = [job for job in self._live if self._is_live(client, job)]
                if self._live:
                    # The oldest one probably runs, and the others wait.
                    number = self.lot.choice([0, self.lot.randrange(len(self._live))])
                    self._cancel(client, self._live.pop(number))
            for job in self._live:
                client.delete(f"/jobs/{job.id}")
        p99_s = percentile_99(self.taken_s)
        return {
            "tries": len(self.taken_s),
            "cancelled": dict(sorted(self.states.items())),
            "median_s": round(statistics.median(self.taken_s), 4) if self.taken_s else None,
            "p99_s": round(p99_s, 4),
            "longest_s": round(max(self.taken_s, default=0), 4),
            "wrong": self.wrong,
            "passed": not self.wrong and p99_s < P99_S,
        }

    def _submit(self, client: httpx.Client) -> None:
        self._submitted += 1
        content = self.make(self._submitted)
        answer = client.post(
            "/convert?filename=model.safetensors",
            content=content,
            headers={"Content-Type": "application/octet-stream", "Prefer": "respond-async"},
        )
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        sha256 = hashlib.sha256(content).hexdigest()
        self._live.append(Live(answer.json()["id"], sha256))

    def _is_live(self, client: httpx.Client, job: Live) -> bool:
        return client.get(f"/jobs/{job.id}").json()["state"] not in FINISHED

    def _cancel(self, client: httpx.Client, job: Live) -> None:
        """Cancel a job; one that has ended meanwhile does not count."""
        checkpoint = self._input_of(job)
        workers = processes_with(checkpoint, self.service.descendants())
        state = str(client.get(f"/jobs/{job.id}").json()["state"])
        began_s = time.perf_counter()
        answer = client.delete(f"/jobs/{job.id}")
        taken_s = time.perf_counter() - began_s
        if answer.status_code == httpx.codes.NO_CONTENT:
            return
        left = [pid for pid in workers if group_lives(pid)]
        if answer.status_code != httpx.codes.OK or answer.json()["state"] != "cancelled":
            self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
        if left:
            self.wrong.append(f"processes {left} were left of a job that was {state}")
        if files := self._files_of(job, checkpoint):
            self.wrong.append(f"left of a job that was {state}: {files}")
        self.taken_s.append(taken_s)
        self.states["with a worker" if workers else state] += 1
        if client.delete(f"/jobs/{job.id}").status_code != httpx.codes.NO_CONTENT:
            self.wrong.append("a cancelled job cannot be removed")
        elif self._store_of(job).exists():
            self.wrong.append("a removed job has a record")

    def _input_of(self, job: Live) -> Path:
        return self.service.work_dir / "inputs" / InputKey(ANONYMOUS, job.sha256).filename

    def _store_of(self, job: Live) -> Path:
        return self.service.work_dir / "store" / job.id

    def _files_of(self, job: Live, checkpoint: Path) -> list[str]:
        """Return the files of a cancelled job, beside its record."""
        kept = [path.name for path in self._store_of(job).iterdir()]
        found = [name for name in kept if not _RECORD.fullmatch(name)]
        work = self.service.work_dir / "workers"
        found += [str(path.relative_to(work)) for path in work.glob(f"*/work/{job.id}")]
        return found + ["its checkpoint"] * checkpoint.exists()


def percentile_99(taken_s: list[float]) -> float:
    """Return the 99th percentile, which is never above the longest."""
    if len(taken_s) < 2:
        return max(taken_s, default=0.0)
    return statistics.quantiles(taken_s, n=100, method="inclusive")[98]


def processes_with(path: Path, processes: set[int]) -> list[int]:
    """Return the processes that have opened or mapped a file, whatever its name there."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return []
    return [pid for pid in processes if _has_open(pid, wanted)]


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
        return f" {wanted.st_ino} " in Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended, or has just closed the file
        return False


def group_lives(group: int) -> bool:
    """Return whether a process of this group still runs, and is no zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if after_name[0] != "Z" and int(after_name[2]) == group:
            return True
    return False


if __name__ == "__main__":
    main()
