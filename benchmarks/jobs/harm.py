"""Kills and restarts a service at random moments, and kills its workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.faults import is_worker
from tests.service.running import Running, free_port, start

GONE_WITHIN_S = 10.0
"""How long the processes of a killed service may take to end."""

DRAIN_S = 3.0

_ACTS = ["kill"] * 5 + ["stop"] + ["worker"] * 4


class Harm:
    """A service on one port and one work folder, and what is done to it."""

    def __init__(self, folder: Path, lot: random.Random, **settings: object) -> None:
        self._folder, self._lot = folder, lot
        self._settings: dict[str, Any] = {"port": free_port(), **settings}
        self.counts: Counter[str] = Counter()
        """How often something was done."""
        self.wrong: list[str] = []
        self.is_enough = False
        self.service = self._started()

    def _started(self, more: Mapping[str, Any] | None = None) -> Running:
        settings = {"drain_timeout_s": DRAIN_S, **self._settings, **(more or {})}
        return start(self._folder, log=self._folder / "log", **settings)

    async def do(self) -> None:
        """Do harm until it is enough; a restart that has begun is finished."""
        while True:
            await asyncio.sleep(self._lot.uniform(0.2, 2.5))
            if self.is_enough:
                return
            act = self._lot.choice(_ACTS)
            if act == "worker":
                self._kill_worker()
                continue
            await self.restart(signal.SIGKILL if act == "kill" else signal.SIGTERM)
            if self._lot.random() < 0.3:  # again, while it starts
                await asyncio.sleep(self._lot.uniform(0.05, 0.8))
                self.counts["killed while it started"] += 1
                await self.restart(signal.SIGKILL)
            await self.ready()

    def _kill_worker(self) -> None:
        workers = [pid for pid in self.service.descendants() if is_worker(pid)]
        for pid in self._lot.sample(workers, min(1, len(workers))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.counts["workers killed"] += 1

    async def restart(self, by: signal.Signals, more: Mapping[str, Any] | None = None) -> None:
        """End the service by a signal, and start it again, perhaps with other settings."""
        await self.end(by)
        await asyncio.sleep(self._lot.uniform(0, 0.3))
        self.service = self._started(more)

    async def end(self, by: signal.Signals) -> None:
        """End the service by a signal; its processes must end with it."""
        process = self.service.process
        processes = {pid: _began(pid) for pid in self.service.descendants()}
        if process.poll() is not None:
            self.wrong.append(f"the service ended by itself, with {process.returncode}")
        process.send_signal(by)
        self.counts[f"services ended by {by.name}"] += 1
        await asyncio.to_thread(process.wait, 60)
        until_s = time.monotonic() + GONE_WITHIN_S
        while left := [pid for pid, began in processes.items() if began and _began(pid) == began]:
            if time.monotonic() > until_s:
                self.wrong.append(f"{len(left)} processes are left after {by.name}")
                return
            await asyncio.sleep(0.02)

    async def ready(self) -> None:
        """Wait until the service has a warm worker."""
        await asyncio.to_thread(self.service.wait_until_ready)


def _began(pid: int) -> str | None:
    """Return when a process began, which tells it from a later one; none if it has ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else after_name[19]
