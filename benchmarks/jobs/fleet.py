"""Two services with one store, on local workers or on a Ray cluster, and the harm that is done.

A process is killed by SIGKILL: a service, or on a cluster also an actor, the process of a job, or
all of a node. What was killed is started again, by Ray where that is Ray's business.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.service.ray_engine.clusters import RayNodes
from tests.service.running import ROOT, Running, descendants_of, free_port, start_at, wait_for
from tests.stores.servers import BUCKET, Server

_FORKED = "multiprocessing.forkserver"


class Fleet:
    """What serves the clients."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        lot: random.Random,
        *,
        module: str,
        cluster: RayNodes | None,
    ) -> None:
        """Start two services.

        Args:
            folder: For their files.
            server: The store.
            lot: Chooses the victims.
            module: What to run as a service.
            cluster: The nodes that do the work, if the services do not.
        """
        self._folder, self._server, self._lot, self._module = folder, server, lot, module
        self._cluster = cluster
        self.ports = [free_port(), free_port()]
        self.counts: Counter[str] = Counter()
        """How often something was done."""
        self._services = [self._start(number) for number in range(2)]

    def _start(self, number: int) -> Running:
        own = self._folder / f"service-{number}"
        own.mkdir(exist_ok=True)
        settings = {
            **(self._cluster.settings if self._cluster else {"device": "cpu", "workers": 2}),
            "work_dir": own / "work",
            "port": self.ports[number],
            "jobs_per_key": 64,
            "store": f"s3://{BUCKET}/convlast",
        }
        return start_at(ROOT, own, self._module, own / "log", settings)

    async def wait_until_ready(self) -> None:
        """Wait until both services are ready."""
        for service in self._services:
            await asyncio.to_thread(service.wait_until_ready)

    def stop(self) -> None:
        """Kill both services."""
        for service in self._services:
            service.process.kill()
            service.process.wait()

    async def do_harm(self, kills: int, away_s: float) -> None:
        """Kill processes, one after the other, and let the store stand still once."""
        acts = [self._kill_service]
        if self._cluster is not None:
            acts += [self._kill_actor, self._kill_child, self._kill_node]
        for number in range(kills):
            await asyncio.sleep(self._lot.uniform(1, 4))
            act = acts[number % len(acts)]
            await asyncio.to_thread(act)
            if number == kills // 2:
                await self._without_store(away_s)

    def _kill_service(self) -> None:
        victim = self._lot.randrange(2)
        self._services[victim].process.kill()
        self._services[victim].process.wait()
        self._services[victim] = self._start(victim)
        self.counts["services killed"] += 1
        self._services[victim].wait_until_ready()

    def _kill_actor(self) -> None:
        assert self._cluster is not None
        self._kill_one("actors", self._cluster.actors)

    def _kill_child(self) -> None:
        """Kill a process of a worker, at work or not."""
        self._kill_one("children", self._children)

    def _children(self) -> list[int]:
        assert self._cluster is not None
        forked = {pid for node in self._cluster.nodes for pid in node.pids(_FORKED)}
        return sorted({child for pid in forked for child in descendants_of(pid)} & forked)

    def _kill_one(self, kind: str, find: Callable[[], list[int]]) -> None:
        wait_for(find)  # for a moment there may be none
        with suppress(ProcessLookupError, IndexError):
            os.kill(self._lot.choice(find()), signal.SIGKILL)
            self.counts[f"{kind} killed"] += 1

    def _kill_node(self) -> None:
        """Kill all processes of a node, and start another node."""
        assert self._cluster is not None
        victim = self._lot.choice(self._cluster.nodes)
        victim.kill()
        self._cluster.nodes.remove(victim)
        self.counts["nodes killed"] += 1
        self._cluster.add()

    async def _without_store(self, away_s: float) -> None:
        """Let the store stand still."""
        pids = await asyncio.to_thread(_pids_with, f"s3.port={self._server.port}")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(away_s)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        self.counts["seconds without the store"] = round(away_s)


def _pids_with(argument: str) -> list[int]:
    """Return the processes with this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if argument.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
