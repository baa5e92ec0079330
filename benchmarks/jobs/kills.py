"""Asynchronous jobs while services, workers and connections are killed at random moments.

    python -m benchmarks.jobs.kills --jobs 200
    python -m benchmarks.jobs.kills --jobs 30 --seed 7

Clients of several owners submit jobs of a fake task and follow them, and leave in the middle of
uploads, waits and event streams. Meanwhile the service is killed and started again on the same work
folder, and so are its workers. Every job that was accepted must end once, with one result, whoever
asks and however often. Afterwards all jobs are removed, half of them by DELETE and half by age, and
nothing may be left: no file and no process. Prints one JSON object; exits with 1 if anything was
wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.jobs.customer import Customer
from benchmarks.jobs.harm import Harm
from benchmarks.jobs.ledger import Ledger
from benchmarks.jobs.orders import OWNERS, Order, draw
from benchmarks.machine import describe
from service.storage.inputs import InputKey
from tests.service.running import Running, wait_for

CLIENTS = 12
"""How many clients there are at once."""

SETTINGS = {"workers": 2, "client_idle_s": 5, "jobs_per_key": 32}
SHORT_AGE_S = 0.5


def main() -> None:
    """Run the trial, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        result = asyncio.run(Trial(Path(folder), arguments.seed).run(arguments.jobs))
        if result["wrong"]:
            print(Path(folder, "log").read_text()[-20_000:], file=sys.stderr)
    print(json.dumps({**result, "machine": describe()}, indent=2))
    sys.exit(1 if result["wrong"] else 0)


class Trial:
    """A service that is killed again and again, its clients, and what they were told."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Start the service.

        Args:
            folder: An empty folder, for the work folder, the keys and the log.
            seed: Decides what is drawn, but not when it happens.
        """
        self._seed = seed
        self._keys = {owner: f"key-of-{owner}" for owner in OWNERS}
        keyfile = folder / "keys"
        keyfile.touch(mode=0o600)
        keyfile.write_text("".join(f"{owner}:{key}\n" for owner, key in self._keys.items()))
        settings = {**SETTINGS, "api_keys_file": keyfile}
        self.ledger, self.harm = Ledger(), Harm(folder, random.Random(seed), **settings)

    @property
    def _service(self) -> Running:
        return self.harm.service

    async def run(self, jobs: int) -> dict[str, Any]:
        """Get the jobs done while harm is done, remove them, and return the figures."""
        began_s = time.monotonic()
        try:
            await self.harm.ready()
            doing = asyncio.create_task(self.harm.do())
            await self._serve(list(draw(jobs, random.Random(self._seed))))
            seconds = time.monotonic() - began_s
            await self._stop(doing)
            await self._check_all()
            await self._remove_all()
        finally:
            self._service.process.kill()
        return {
            "benchmark": "kills",
            "jobs": len(self.ledger.jobs),
            "seed": self._seed,
            "seconds": round(seconds, 1),
            "harm": dict(sorted(self.harm.counts.items())),
            "clients": dict(sorted(self.ledger.counts.items())),
            "begun_more_than_once": self.ledger.run_again(),
            "outcomes": self.ledger.outcomes(),
            "wrong": [*self.harm.wrong, *self.ledger.judge()],
        }

    async def _serve(self, orders: list[Order]) -> None:
        """Let a client get each order done, some of them at once."""
        places = asyncio.Semaphore(CLIENTS)

        async def get_done(number: int, order: Order) -> None:
            async with places:
                key, lot = self._keys[order.owner], random.Random(self._seed * 1_000_003 + number)
                await Customer(self._service.url, key, order, self.ledger, lot).run()

        await asyncio.gather(*(get_done(*each) for each in enumerate(orders)))

    async def _stop(self, doing: asyncio.Task[None]) -> None:
        """Stop doing harm."""
        self.harm.is_enough = True
        await asyncio.wait({doing})
        if error := doing.exception():
            self.harm.wrong.append(f"the harm ended with {error!r}")
        await self.harm.ready()

    async def _check_all(self) -> None:
        """Read all jobs and the work folder, before and after a last kill."""
        for is_last in (False, True):
            self._read_all()
            self._check_lists()
            self._check_files()
            if not is_last:
                await self.harm.restart(signal.SIGKILL)
                await self.harm.ready()

    def _read_all(self) -> None:
        for job_id, known in self.ledger.jobs.items():
            with self._client(known.order.owner) as client:
                answer = client.get(f"/jobs/{job_id}")
            if answer.status_code == httpx.codes.OK:
                self.ledger.told(answer.json())
            else:
                known.is_gone = True

    def _check_lists(self) -> None:
        """Each owner has a list of exactly the own jobs."""
        for owner in OWNERS:
            listed, path = [], "/jobs?limit=7"
            with self._client(owner) as client:
                while path:
                    page = client.get(path).json()
                    listed += [status["id"] for status in page["jobs"]]
                    path = page["next"]
            if sorted(listed) != sorted(self._kept(owner)):
                self.harm.wrong.append(f"{owner} has {len(listed)} jobs in the list")

    def _kept(self, *owners: str) -> list[str]:
        """Return the jobs of some owners that the service must have."""
        return [
            job_id
            for job_id, known in self.ledger.jobs.items()
            if known.order.owner in owners and not known.is_removed
        ]

    def _check_files(self) -> None:
        """All files belong to a job, and every job has its own."""
        kept = {job_id: self.ledger.jobs[job_id] for job_id in self._kept(*OWNERS)}
        inputs = {
            InputKey(known.order.owner, known.order.sha256).filename
            for known in kept.values()
            if known.ends and known.ends[-1]["state"] != "cancelled"
        }
        for name, expected in (("jobs", set()), ("store", set(kept)), ("inputs", inputs)):
            found = {path.name for path in (self._service.work_dir / name).iterdir()}
            if found != expected:
                more, fewer = len(found - expected), len(expected - found)
                self.harm.wrong.append(f"{name}: {more} names too many, {fewer} are missing")

    async def _remove_all(self) -> None:
        """Remove half of the jobs by DELETE and the rest by age; nothing may be left."""
        kept = self._kept(*OWNERS)
        for job_id in kept[::2]:
            with self._client(self.ledger.jobs[job_id].order.owner) as client:
                answer = client.delete(f"/jobs/{job_id}")
            if answer.status_code != httpx.codes.NO_CONTENT:
                self.harm.wrong.append(f"{job_id}: DELETE is answered {answer.status_code}")
        await self.harm.restart(signal.SIGTERM, {"store_age_s": SHORT_AGE_S})
        await self.harm.ready()
        try:
            await asyncio.to_thread(wait_for, lambda: not self._service.files())
        except AssertionError:
            self.harm.wrong.append(f"left in the work folder: {sorted(self._service.files())[:9]}")
        await self.harm.end(signal.SIGTERM)
        if self._service.process.returncode:
            self.harm.wrong.append(f"the exit status is {self._service.process.returncode}")

    def _client(self, owner: str) -> httpx.Client:
        return self._service.client(headers={"Authorization": f"Bearer {self._keys[owner]}"})


if __name__ == "__main__":
    main()
