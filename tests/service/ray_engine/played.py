"""Slots and a cluster that are played in this process, without Ray."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from convlast.errors import ConvlastError
from convlast.stores.opening import StoreOptions
from service.problems import Problem, ProblemError
from service.ray_engine.cluster import GoneError
from service.ray_engine.slot import Slot
from service.ray_engine.workers import RayWorkers
from service.workers import (
    REPORT_HTML,
    REPORT_JSON,
    Finished,
    Health,
    Job,
    JobFiles,
    LaneHealth,
    Listener,
    Made,
)

JOB = Job(id="one", verb="convert", filename="m.pt")
LONGEST_S = 20
Act = Callable[[JobFiles, Listener], Awaitable[None]]


@dataclass
class PlayedWorkers:
    """Workers that do what the test says, and then copy the checkpoint as the artifact."""

    gpu: str | None = None
    problem: str | None = None
    act: Act | None = None
    artifact: str = "out.pt"
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    is_cancelled: bool = False
    is_busy: bool = False

    async def start(self) -> None:
        """Be ready at once."""

    async def stop(self) -> None:
        """Do nothing."""

    async def kind(self) -> str:
        """Return the kind."""
        return self.gpu or "cpu"

    def health(self) -> Health:
        """Return the health of one lane."""
        is_ready = self.problem is None
        lane = LaneHealth(device="cpu", gpu=self.gpu, ready=is_ready, busy=self.is_busy)
        return Health(ready=is_ready, busy=self.is_busy, problem=self.problem, lanes=[lane])

    async def run(self, job: Job, files: JobFiles, listener: Listener, *, share: str) -> Finished:
        """Do what the test says."""
        try:
            await listener.begins("cpu")
            self.begun.set()
            listener.goes_on("read", 1, 1)
            if self.act is not None:
                await self.act(files, listener)
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        content = files.source.read_bytes()
        if not (files.folder / self.artifact).exists():
            (files.folder / self.artifact).write_bytes(content)
        (files.folder / REPORT_JSON).write_text('{"a": 1}')
        (files.folder / REPORT_HTML).write_text("<!doctype html>")
        return Finished(
            verdict="passed",
            artifact=Made(filename=self.artifact),
            artifact_sha256=hashlib.sha256(content).hexdigest(),
            reports=[Made(filename=REPORT_JSON), Made(filename=REPORT_HTML)],
            seconds={"queue": 0.0, "convert": 1.0},
        )


@dataclass
class PlayedSlot:
    """A slot that can be cut off."""

    slot: Slot
    workers: PlayedWorkers
    is_gone: bool = False

    async def call(self, method: str, *arguments: str | int) -> str:
        """Call a method, and fail as soon as it is gone."""
        calling = asyncio.ensure_future(getattr(self.slot, method)(*arguments))
        while not self.is_gone:
            await asyncio.wait({calling}, timeout=0.01)
            if calling.done():
                return str(calling.result())
        calling.cancel()
        raise GoneError("played")


@dataclass
class PlayedCluster:
    """A cluster with the slots that a test gives it."""

    folder: Path
    there: dict[str, PlayedSlot] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)

    def add(self, name: str, workers: PlayedWorkers | None = None) -> PlayedSlot:
        """Add a slot."""
        workers = workers or PlayedWorkers()
        slot = Slot(workers, StoreOptions(), self.folder / name)
        played = PlayedSlot(slot, workers)
        self.there[name] = played
        return played

    async def slots(self) -> list[str]:
        """Return the names of the slots."""
        return list(self.there)

    async def call(self, name: str, method: str, *arguments: str | int) -> str:
        """Call a method of a slot."""
        if name not in self.there:
            raise GoneError("played")
        return await self.there[name].call(method, *arguments)

    async def drop(self, name: str) -> None:
        """Note that a slot is given up."""
        self.dropped.append(name)
        self.there.pop(name)


@asynccontextmanager
async def working(cluster: PlayedCluster) -> AsyncIterator[RayWorkers]:
    """Start workers on a played cluster; afterwards nothing may be left of any job."""
    store = cluster.folder / "store"
    workers = RayWorkers(cluster, f"file://{store}/", StoreOptions())
    async with asyncio.timeout(LONGEST_S):
        await workers.start()
        try:
            yield workers
        finally:
            await workers.stop()
            for played in cluster.there.values():
                await played.slot.stop()
    left = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert [path for path in left if path.parent.name not in ("made", "given")] == []


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    while not condition():  # noqa: ASYNC110  # many tasks make it true
        await asyncio.sleep(0.01)


async def ran(
    workers: RayWorkers, folder: Path, listener: Listener, content: bytes = b"a checkpoint"
) -> Finished:
    """Run a job with this checkpoint; its results go into the folder `made`."""
    source, made = folder / "given" / "m.pt", folder / "made"
    for each in (source.parent, made):
        each.mkdir(exist_ok=True)
    source.write_bytes(content)
    return await workers.run(JOB, JobFiles(source, made), listener, share="a client")


async def problem_of(work: Awaitable[Finished]) -> Problem:
    """Return the problem that a job ends with."""
    try:
        await work
    except ProblemError as error:
        return error.problem
    except ConvlastError as error:
        return Problem.of(error)
    raise AssertionError("the job has succeeded")
