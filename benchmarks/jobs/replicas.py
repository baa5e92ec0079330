"""Two services with one store, while both are killed at random moments, and the store is away.

    make stores ARGS=--collect-only   # installs SeaweedFS
    python -m benchmarks.jobs.replicas --jobs 200 --kills 20

Clients submit jobs of a fake task at a random service, and follow them at a random one. Meanwhile
the services are ended by SIGKILL one after the other and started again, and SeaweedFS, the store,
stands still for a while. Every job that was accepted must have one outcome, whoever is asked and
however often, and the artifact must be the one that this job has. Prints one JSON object; exits
with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import describe
from tests.service.running import FAKE, ROOT, Running, free_port, start_at
from tests.stores.seaweedfs import seaweedfs
from tests.stores.servers import BUCKET, CREDENTIALS, Server

CLIENTS = 12
FILLER_BYTES = 200_000
PAUSE_S = 0.3
OCTETS = {"Content-Type": "application/octet-stream"}


def main() -> None:
    """Run the trial, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--away", type=float, default=30.0, help="seconds without the store")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, seaweedfs(Path(folder)) as server:
        os.environ.update({**CREDENTIALS, "AWS_ENDPOINT_URL": server.endpoint})
        trial = Trial(Path(folder), server, random.Random(arguments.seed))
        result = asyncio.run(trial.run(arguments.jobs, arguments.kills, arguments.away))
    print(json.dumps({**result, "machine": describe()}, indent=2))
    sys.exit(1 if result["wrong"] else 0)


@dataclass
class Known:
    """What was told of a job that was accepted.

    Attributes:
        content: Its checkpoint, which the fake task gives back.
        ends: Each end that was told: its state, and when it was.
        why: Why it failed, if it did.
    """

    content: bytes
    ends: set[tuple[str, str]] = field(default_factory=set)
    why: str = ""


class Trial:
    """Two services, their store, and their clients."""

    def __init__(self, folder: Path, server: Server, lot: random.Random) -> None:
        self._folder, self._server, self._lot = folder, server, lot
        self._ports = [free_port(), free_port()]
        self._services = [self._start(number) for number in range(2)]
        self._known: dict[str, Known] = {}
        self._counts: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._is_enough = False

    def _start(self, number: int) -> Running:
        own = self._folder / f"service-{number}"
        own.mkdir(exist_ok=True)
        settings = {
            "work_dir": own / "work",
            "port": self._ports[number],
            "workers": 2,
            "jobs_per_key": 64,
            "store": f"s3://{BUCKET}/convlast",
        }
        return start_at(ROOT, own, FAKE, own / "log", settings)

    async def run(self, jobs: int, kills: int, away_s: float) -> dict[str, Any]:
        """Get the jobs done while harm is done, and return the figures."""
        began_s = time.monotonic()
        try:
            for service in self._services:
                await asyncio.to_thread(service.wait_until_ready)
            harm = asyncio.create_task(self._do_harm(kills, away_s))
            places = asyncio.Semaphore(CLIENTS)
            async with httpx.AsyncClient(timeout=90, trust_env=False) as client:
                await asyncio.gather(*(self._get_done(n, client, places) for n in range(jobs)))
                seconds = time.monotonic() - began_s
                self._is_enough = True
                await harm
                await self._read_all(client)
        finally:
            for service in self._services:
                service.process.kill()
                service.process.wait()
        states = Counter(state for known in self._known.values() for state, _ in known.ends)
        return {
            "benchmark": "replicas",
            "jobs": len(self._known),
            "seconds": round(seconds, 1),
            "counts": dict(sorted(self._counts.items())),
            "states": dict(states),
            "more_than_one_outcome": sum(len(each.ends) > 1 for each in self._known.values()),
            "wrong": self._wrong,
        }

    async def _do_harm(self, kills: int, away_s: float) -> None:
        """Kill services, one after the other, and let the store stand still once."""
        for number in range(kills):
            await asyncio.sleep(self._lot.uniform(1, 4))
            victim = self._lot.randrange(2)
            self._services[victim].process.send_signal(signal.SIGKILL)
            self._services[victim].process.wait()
            self._services[victim] = self._start(victim)
            self._counts["kills"] += 1
            await asyncio.to_thread(self._services[victim].wait_until_ready)
            if number == kills // 2:
                await self._without_store(away_s)

    async def _without_store(self, away_s: float) -> None:
        """Let the store stand still."""
        pids = await asyncio.to_thread(_pids_with, f"s3.port={self._server.port}")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(away_s)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        self._counts["seconds without the store"] = round(away_s)

    async def _get_done(
        self, number: int, client: httpx.AsyncClient, places: asyncio.Semaphore
    ) -> None:
        """Submit a job, wait for its end, and compare its artifact."""
        sleep_s = self._lot.uniform(0.1, 1.5)
        content = b"sleeps %.2f %d " % (sleep_s, number) + self._lot.randbytes(FILLER_BYTES)
        async with places:
            headers = {**OCTETS, "Prefer": "respond-async"}
            path = "/convert?filename=m.pt"
            answer = await self._ask(client, "POST", path, content=content, headers=headers)
            known = self._known.setdefault(answer.json()["id"], Known(content))
            while not known.ends:
                await self._read(client, answer.json()["id"], known, "?wait=5")
            await self._compare(client, answer.json()["id"], known)

    async def _read(
        self, client: httpx.AsyncClient, job_id: str, known: Known, query: str = ""
    ) -> None:
        """Read the state of a job at some service."""
        answer = await self._ask(client, "GET", f"/jobs/{job_id}{query}")
        status = answer.json()
        if status["state"] not in {"queued", "running"}:
            known.ends.add((status["state"], status["finished_at"]))
            known.why = (status["problem"] or {}).get("detail", "")

    async def _compare(self, client: httpx.AsyncClient, job_id: str, known: Known) -> None:
        """Read the artifact at some service."""
        if {state for state, _ in known.ends} != {"succeeded"}:
            self._wrong.append(f"{job_id}: {known.ends}, {known.why}")
            return
        answer = await self._ask(client, "GET", f"/jobs/{job_id}/artifact")
        if answer.content != known.content:
            self._wrong.append(f"{job_id}: {hashlib.sha256(answer.content).hexdigest()}")

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, **more: Any
    ) -> httpx.Response:
        """Ask services until one answers; a service that is gone or not ready is no answer."""
        while True:
            port = self._lot.choice(self._ports)
            try:
                answer = await client.request(method, f"http://127.0.0.1:{port}{path}", **more)
            except httpx.TransportError:
                self._counts["connections lost"] += 1
            else:
                if answer.status_code < 400:
                    return answer
                self._counts[f"status {answer.status_code}"] += 1
                if answer.status_code in {404, 410}:
                    self._wrong.append(f"{method} {path}: {answer.text}")
            await asyncio.sleep(PAUSE_S)

    async def _read_all(self, client: httpx.AsyncClient) -> None:
        """Read each job several times more, and its artifact."""
        for job_id, known in self._known.items():
            for _ in range(3):
                await self._read(client, job_id, known)
            if len(known.ends) > 1:
                self._wrong.append(f"{job_id}: {known.ends}")
            await self._compare(client, job_id, known)


def _pids_with(argument: str) -> list[int]:
    """Return the processes with this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if argument.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    main()
