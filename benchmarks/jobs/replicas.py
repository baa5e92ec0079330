"""Two services with one store, while processes are killed at random moments, and the store is away.

    make stores ARGS=--collect-only   # installs SeaweedFS; `make ray` installs Ray
    python -m benchmarks.jobs.replicas --jobs 200 --kills 20
    PYTHONPATH=.venv/ray scripts/alone.sh .venv/bin/python -m benchmarks.jobs.replicas --nodes 3

Clients submit checkpoints at a random service, and follow their jobs at a random one; `fleet` tells
what is done meanwhile. The services convert for real; with `--fake` a fake task sleeps and gives
back its file. Every job that was accepted must have one outcome, whoever is asked and however
often, and its artifact must be, byte for byte, the one that this machine has made before. A job may
be given up only after attempts that were all cut short. Prints one JSON object; exits with 1 if
anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.jobs.fleet import Fleet
from benchmarks.machine import describe
from tests.service.ray_engine.clusters import started
from tests.service.running import FAKE, REAL
from tests.stores.seaweedfs import seaweedfs
from tests.stores.servers import CREDENTIALS

CLIENTS = 12
FILLER_BYTES = 200_000
PAUSE_S = 0.3
OCTETS = {"Content-Type": "application/octet-stream"}
GIVEN_UP = frozenset({"worker-crashed", "device-lost"})
LEAST_ATTEMPTS = 2


def main() -> None:
    """Run the trial, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=0, help="of a Ray cluster that does the work")
    parser.add_argument("--away", type=float, default=30.0, help="seconds without the store")
    parser.add_argument("--fake", action="store_true", help="do no work but sleep")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lot = random.Random(arguments.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make = _sleeping if arguments.fake else _converted
        orders = [make(number, folder, lot) for number in range(arguments.jobs)]
        server = stack.enter_context(seaweedfs(folder))
        os.environ.update({**CREDENTIALS, "AWS_ENDPOINT_URL": server.endpoint})
        nodes = stack.enter_context(started(arguments.nodes)) if arguments.nodes else None
        module = FAKE if arguments.fake else REAL
        fleet = Fleet(folder, server, lot, module=module, cluster=nodes)
        trial = Trial(fleet, lot)
        found = asyncio.run(trial.run(orders, arguments.kills, arguments.away))
    head = {"benchmark": "replicas", "nodes": arguments.nodes, "fake": arguments.fake}
    print(json.dumps({**head, **found, "machine": describe()}, indent=2))
    sys.exit(1 if found["wrong"] else 0)


@dataclass(frozen=True)
class Order:
    """A checkpoint, and the artifact that this machine makes of it."""

    content: bytes
    artifact: bytes


def _sleeping(number: int, folder: Path, lot: random.Random) -> Order:
    """Make a file that the fake task sleeps over, and gives back."""
    content = b"sleeps %.2f %d " % (lot.uniform(0.1, 1.5), number) + lot.randbytes(FILLER_BYTES)
    return Order(content, content)


def _converted(number: int, folder: Path, lot: random.Random) -> Order:
    """Make a checkpoint, and convert it here."""
    import torch

    import convlast

    torch.manual_seed(number)
    given, made = io.BytesIO(), folder / "made.pt"
    torch.save(torch.nn.Conv3d(16, lot.randrange(8, 64), 3).state_dict(), given)
    source = folder / "m.pt"
    source.write_bytes(given.getvalue())
    convlast.convert(source, made, device="cpu")
    order = Order(given.getvalue(), made.read_bytes())
    made.unlink()
    return order


@dataclass
class Known:
    """What was told of a job that was accepted.

    Attributes:
        order: What was asked for.
        ends: Each end that was told: its state, when it was, why it failed, and in which attempt.
    """

    order: Order
    ends: set[tuple[str, str, str, int]] = field(default_factory=set)


class Trial:
    """The clients, and what they are told."""

    def __init__(self, fleet: Fleet, lot: random.Random) -> None:
        self._fleet, self._lot = fleet, lot
        self._known: dict[str, Known] = {}
        self._counts: Counter[str] = Counter()
        self._wrong: list[str] = []

    async def run(self, orders: list[Order], kills: int, away_s: float) -> dict[str, Any]:
        """Get the jobs done while harm is done, and return the figures."""
        try:
            await self._fleet.wait_until_ready()
            began_s = time.monotonic()
            harm = asyncio.create_task(self._fleet.do_harm(kills, away_s))
            places = asyncio.Semaphore(CLIENTS)
            async with httpx.AsyncClient(timeout=90, trust_env=False) as client:
                await asyncio.gather(*(self._get_done(each, client, places) for each in orders))
                seconds = time.monotonic() - began_s
                await harm
                await self._read_all(client)
        finally:
            self._fleet.stop()
        return {
            "jobs": len(self._known),
            "seconds": round(seconds, 1),
            "counts": dict(sorted((self._counts + self._fleet.counts).items())),
            "ends": dict(Counter(end for each in self._known.values() for end in _told(each))),
            "attempts": dict(sorted(Counter(map(_attempts, self._known.values())).items())),
            "more_than_one_outcome": sum(len(each.ends) > 1 for each in self._known.values()),
            "wrong": self._wrong,
        }

    async def _get_done(
        self, order: Order, client: httpx.AsyncClient, places: asyncio.Semaphore
    ) -> None:
        """Submit a job, wait for its end, and compare its artifact."""
        async with places:
            headers = {**OCTETS, "Prefer": "respond-async"}
            path = "/convert?filename=m.pt"
            answer = await self._ask(client, "POST", path, content=order.content, headers=headers)
            job_id = answer.json()["id"]
            known = self._known.setdefault(job_id, Known(order))
            while not known.ends:
                await self._read(client, job_id, known, "?wait=5")
            await self._compare(client, job_id, known)

    async def _read(
        self, client: httpx.AsyncClient, job_id: str, known: Known, query: str = ""
    ) -> None:
        """Read the state of a job at some service."""
        answer = await self._ask(client, "GET", f"/jobs/{job_id}{query}")
        told = answer.json()
        if told["state"] not in {"queued", "running"}:
            code = (told["problem"] or {}).get("code", "")
            known.ends.add((told["state"], told["finished_at"], code, told["attempts"]))

    async def _compare(self, client: httpx.AsyncClient, job_id: str, known: Known) -> None:
        """Read the artifact at some service."""
        if [(state, code) for state, _, code, _ in known.ends] != [("succeeded", "")]:
            return
        answer = await self._ask(client, "GET", f"/jobs/{job_id}/artifact")
        if answer.content != known.order.artifact:
            self._wrong.append(f"{job_id}: {hashlib.sha256(answer.content).hexdigest()}")

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, **more: Any
    ) -> httpx.Response:
        """Ask services until one answers; a service that is gone or not ready is no answer."""
        while True:
            port = self._lot.choice(self._fleet.ports)
            try:
                answer = await client.request(method, f"http://127.0.0.1:{port}{path}", **more)
            except httpx.TransportError:
                self._counts["connections lost"] += 1
            else:
                if answer.status_code < 400:
                    return answer
                self._counts[f"{answer.status_code} {answer.json()['code']}"] += 1
                if answer.status_code in {404, 410}:
                    self._wrong.append(f"{method} {path}: {answer.text}")
            await asyncio.sleep(PAUSE_S)

    async def _read_all(self, client: httpx.AsyncClient) -> None:
        """Read each job several times more, and its artifact."""
        for job_id, known in self._known.items():
            for _ in range(3):
                await self._read(client, job_id, known)
            for state, _, code, attempts in known.ends:
                was_cut_short = code in GIVEN_UP and attempts >= LEAST_ATTEMPTS
                if state != "succeeded" and not was_cut_short:
                    self._wrong.append(f"{job_id}: {state} ({code}) in attempt {attempts}")
            if len(known.ends) > 1:
                self._wrong.append(f"{job_id}: {known.ends}")
            await self._compare(client, job_id, known)


def _told(known: Known) -> list[str]:
    return [f"{state} ({code})" if code else state for state, _, code, _ in known.ends]


def _attempts(known: Known) -> int:
    """Return how often a job was begun."""
    return max((attempts for *_, attempts in known.ends), default=0)


if __name__ == "__main__":
    main()
