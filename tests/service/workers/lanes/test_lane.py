"""Several jobs at once, on several fake devices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from convlast.errors import ConvlastError, OutOfMemoryError
from convlast.report import Report
from service.errors import NotReadyError, WorkerCrashedError
from service.problems import ProblemError
from service.workers import Finished, Job, JobFiles, process
from service.workers.lanes import lane
from service.workers.lanes.memory_budget import MemoryBudget
from service.workers.local import Capacity, LocalWorkers
from tests.service.listening import Heard
from tests.service.workers.test_local import confinement, until

FAKES, GPUS = "tests.service.fakes", "tests.service.workers.lanes.gpus"


class Client:
    """Sends jobs to workers, each with a folder of its own."""

    def __init__(self, folder: Path, workers: LocalWorkers, name: str = "a client") -> None:
        self.folder, self.workers, self.name = folder / name, workers, name
        self.folder.mkdir(parents=True)
        self.count = 0

    def send(self, content: bytes, size_bytes: int = 0) -> asyncio.Future[Finished]:
        """Begin a job."""
        self.count += 1
        name = f"{self.name.replace(' ', '-')}-{self.count}"
        folder = self.folder / name
        folder.mkdir()
        source = self.folder / f"{name}.upload"
        source.write_bytes(content)
        if size_bytes:
            os.truncate(source, size_bytes)
        job = Job(id=name, verb="inspect", filename="m.pt")
        files = JobFiles(source, folder)
        run = self.workers.run(job, files, Heard(), share=self.name)
        return asyncio.ensure_future(run)

    def device_of(self, number: int) -> str:
        """Return the device in the report of a job."""
        text = (self.folder / f"{self.name.replace(' ', '-')}-{number}" / "report.json").read_text()
        return Report.model_validate_json(text).environment.device


def with_lanes(
    use: Callable[[LocalWorkers], Awaitable[None]],
    folder: Path,
    *,
    device: str = "cpu",
    task: str = FAKES,
    memory: MemoryBudget | None = None,
    **capacity: int,
) -> None:
    """Start workers, run a test with them, and stop them."""

    async def main() -> None:
        workers = LocalWorkers(
            task=task,
            device=device,
            job_timeout_s=120,
            confinement=confinement(folder / "workers"),
            capacity=Capacity(**capacity),
            memory=memory,
        )
        await workers.start()
        try:
            await until(lambda: workers.health().ready)
            await use(workers)
        finally:
            await workers.stop()

    asyncio.run(main())
    assert list((folder / "workers").iterdir()) == [], "each worker takes its folder with it"


def _note(order: list[str], name: str, _: object) -> None:
    order.append(name)


def busy(workers: LocalWorkers) -> int:
    """Return how many jobs run."""
    return sum(each.busy for each in workers.health().lanes)


def test_as_many_jobs_run_at_once_as_there_are_lanes(tmp_path: Path) -> None:
    """With four lanes four jobs run at once, and the fifth waits."""

    async def use(workers: LocalWorkers) -> None:
        client = Client(tmp_path, workers)
        jobs = [client.send(b"hangs") for _ in range(5)]
        await until(lambda: busy(workers) == 4)
        assert workers.health().waiting == 1
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)
        assert (busy(workers), workers.health().waiting) == (0, 0)
        assert (await client.send(b"fine")).verdict == "passed"

    with_lanes(use, tmp_path, cpu_lanes=4)


def test_a_worker_that_is_killed_takes_no_other_job_along(tmp_path: Path) -> None:
    """The other three jobs of four finish."""

    async def use(workers: LocalWorkers) -> None:
        client = Client(tmp_path, workers)
        jobs = [client.send(b"sleeps 1") for _ in range(3)]
        with pytest.raises(WorkerCrashedError, match="SIGKILL"):
            await client.send(b"kills-itself")
        assert len(await asyncio.gather(*jobs)) == 3

    with_lanes(use, tmp_path, cpu_lanes=4)


def test_the_next_worker_warms_up_while_a_job_runs(tmp_path: Path) -> None:
    """During a job the next worker becomes ready."""

    async def use(workers: LocalWorkers) -> None:
        hanging = Client(tmp_path, workers).send(b"hangs")
        await until(lambda: busy(workers) == 1)
        await until(lambda: len(workers._lanes[0]._idle) == 1)
        hanging.cancel()
        await asyncio.wait({hanging})

    with_lanes(use, tmp_path)


@pytest.mark.parametrize(("warm", "idle"), [(0, 0), (2, 2)])
def test_how_many_wait_warm_is_a_setting(tmp_path: Path, warm: int, idle: int) -> None:
    """None or several workers wait; jobs run in either case."""

    async def use(workers: LocalWorkers) -> None:
        client = Client(tmp_path, workers)
        for _ in range(3):
            assert (await client.send(b"fine")).verdict == "passed"
        await until(lambda: len(workers._lanes[0]._idle) == idle)
        assert workers.health().ready

    with_lanes(use, tmp_path, warm=warm)


def test_clients_take_turns(tmp_path: Path) -> None:
    """A client with many jobs delays another's by the one that runs."""

    async def use(workers: LocalWorkers) -> None:
        many, one = Client(tmp_path, workers, "many"), Client(tmp_path, workers, "one")
        order: list[str] = []
        jobs = [many.send(content) for content in (b"sleeps 2", b"fine", b"fine", b"fine")]
        await until(lambda: busy(workers) == 1)
        jobs.append(one.send(b"fine"))
        for number, job in enumerate(jobs):
            name = "one" if number == 4 else f"many {number}"
            job.add_done_callback(partial(_note, order, name))
        await asyncio.gather(*jobs)
        assert order[:3] == ["many 0", "one", "many 1"]

    with_lanes(use, tmp_path)


def test_every_gpu_gets_jobs(tmp_path: Path) -> None:
    """`cuda` means every GPU that the first worker sees, and each one runs a job."""

    async def use(workers: LocalWorkers) -> None:
        await until(lambda: [each.ready for each in workers.health().lanes] == [True] * 3)
        client = Client(tmp_path, workers)
        await asyncio.gather(*[client.send(b"sleeps 2") for _ in range(3)])
        lanes = workers.health().lanes
        assert [each.device for each in lanes] == ["cuda:0", "cuda:1", "cuda:2"]
        assert [(each.jobs, each.gpu) for each in lanes] == [(1, "A fake")] * 3
        assert {client.device_of(number) for number in range(1, 4)} >= {"cuda:1", "cuda:2"}

    with capture_logs() as logs:
        with_lanes(use, tmp_path, device="cuda", task=GPUS, cpu_lanes=1)
    begun = {entry["device"] for entry in logs if entry["event"] == "job begins"}
    assert begun == {"cuda:0", "cuda:1", "cuda:2"}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set of devices that fail while they are in it."""
    devices: set[str] = set()
    started = process.WorkerProcess.start

    async def start(context: Any, task: str, device: str, limits: Any) -> process.WorkerProcess:
        return await started(context, task, "lost" if device in devices else device, limits)

    monkeypatch.setattr(process.WorkerProcess, "start", start)
    monkeypatch.setattr(lane, "PROBE_INTERVAL_S", 0.05)
    return devices


def test_a_gpu_that_fails_gets_no_job_and_comes_back(tmp_path: Path, failing: set[str]) -> None:
    """The others go on; the dead one is named, tried again, and gets jobs once it works."""

    async def use(workers: LocalWorkers) -> None:
        def problems() -> list[str | None]:
            return [each.problem for each in workers.health().lanes]

        await until(lambda: problems() == [None, "The fake GPU failed.", None])
        client = Client(tmp_path, workers)
        await asyncio.gather(*[client.send(b"fine") for _ in range(6)])
        assert workers.health().lanes[1].jobs == 0
        assert workers.health().ready
        failing.clear()
        await until(lambda: problems() == [None] * 3)
        await asyncio.gather(*[client.send(b"sleeps 2") for _ in range(3)])
        assert workers.health().lanes[1].jobs > 0

    failing.add("cuda:1")
    with capture_logs() as logs:
        with_lanes(use, tmp_path, device="cuda", task=GPUS)
    told = {each.get("problem") for each in logs if each["event"] == "no worker is ready"}
    assert told == {"The fake GPU failed."}


def test_if_all_fail_waiting_jobs_are_refused(tmp_path: Path, failing: set[str]) -> None:
    """A job is refused, and told when the device is tried again, if no device works."""

    async def use(workers: LocalWorkers) -> None:
        client = Client(tmp_path, workers)
        failing.update({"cuda:0", "cuda:2"})
        jobs = [client.send(b"sleeps 0.3") for _ in range(6)]
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        refused = [each for each in ended if isinstance(each, NotReadyError)]
        assert refused
        assert all(each.details["retry_after_s"] for each in refused)
        await until(lambda: not workers.health().ready)
        assert workers.health().problem == "The fake GPU failed."

    with_lanes(use, tmp_path, device="cuda:0,2", task=GPUS)


def test_a_job_whose_idle_worker_was_killed_gets_another(tmp_path: Path) -> None:
    """An idle worker that has died costs its job a moment."""

    async def use(workers: LocalWorkers) -> None:
        # While it is probed it is not among those that wait.
        await until(lambda: len(workers._lanes[0]._idle) > 0)
        idle = workers._lanes[0]._idle[0]
        os.kill(idle.process.pid or 0, signal.SIGKILL)
        await until(lambda: not idle.can_work())
        assert (await Client(tmp_path, workers).send(b"fine")).verdict == "passed"

    with_lanes(use, tmp_path)


def test_a_job_that_loses_the_device_ends_the_idle_workers(tmp_path: Path) -> None:
    """The next job gets a worker that has found the device again."""

    async def use(workers: LocalWorkers) -> None:
        lane_of_all = workers._lanes[0]
        await until(lambda: len(lane_of_all._idle) == 2)
        waiting = lane_of_all._idle[1]
        folder = tmp_path / "lost"
        folder.mkdir()
        source = tmp_path / "lost.upload"
        source.write_bytes(b"raises-code device-lost")
        job = Job(id="lost", verb="convert", filename="m.pt")
        with pytest.raises(ProblemError) as caught:
            await workers.run(job, JobFiles(source, folder), Heard(), share="a")
        assert caught.value.problem.code == "device-lost"
        assert waiting not in lane_of_all._idle
        await until(lambda: len(lane_of_all._idle) == 2)

    with_lanes(use, tmp_path, warm=2)


def test_a_waiter_that_is_cancelled_leaves_no_trace(tmp_path: Path) -> None:
    """Cancelled jobs, at whatever moment, hold no lane and no memory."""
    memory = MemoryBudget(1 << 32, 1 << 30)

    async def use(workers: LocalWorkers) -> None:
        client = Client(tmp_path, workers)
        for turns in range(12):
            jobs = [client.send(b"sleeps 0.05") for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0.003)
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
        assert (await client.send(b"fine")).verdict == "passed"
        assert (busy(workers), workers.health().waiting, memory.taken_bytes) == (0, 0, 0)

    with_lanes(use, tmp_path, cpu_lanes=2, memory=memory)


def test_jobs_wait_until_their_memory_is_left(tmp_path: Path) -> None:
    """Two large files are not converted at once, though there are two lanes."""
    memory = MemoryBudget(4 << 30, 1 << 30)

    async def use(workers: LocalWorkers) -> None:
        client = Client(tmp_path, workers)
        first, second = (client.send(content, 900 << 20) for content in (b"hangs ", b"fine "))
        await until(lambda: busy(workers) == 1)
        await asyncio.sleep(0.2)
        assert (busy(workers), workers.health().waiting) == (1, 1)
        assert memory.taken_bytes <= 4 << 30
        first.cancel()
        assert (await second).verdict == "passed"
        assert memory.taken_bytes == 0

    with_lanes(use, tmp_path, cpu_lanes=2, memory=memory)


def test_a_file_larger_than_the_memory_runs_alone_within_it(tmp_path: Path) -> None:
    """A job gets at most all of the memory, and is stopped with an error if it uses more."""
    memory = MemoryBudget(1 << 30, 8 << 30)
    tight = MemoryBudget(1 << 20, 8 << 30)

    async def fine(workers: LocalWorkers) -> None:
        assert (await Client(tmp_path, workers, "fine").send(b"fine ", 2 << 30)).verdict == "passed"

    async def too_large(workers: LocalWorkers) -> None:
        with pytest.raises(OutOfMemoryError, match="CONVLAST_MEMORY_BYTES"):
            await Client(tmp_path, workers, "large").send(b"hangs ", 2 << 30)

    with_lanes(fine, tmp_path, memory=memory)
    with_lanes(too_large, tmp_path, memory=tight)


@pytest.mark.parametrize(
    ("device", "broken", "problem"),
    [
        ("cuda:0,2", {"cuda:0"}, None),
        ("cuda:0,2", {"cuda:0", "cuda:2"}, "The fake GPU failed."),
        ("cuda:9,1", {"cuda:9"}, "cuda:9 cannot be used: the last GPU that CUDA sees is cuda:2"),
    ],
)
def test_the_start_needs_one_device_that_works(
    tmp_path: Path, failing: set[str], device: str, broken: set[str], problem: str | None
) -> None:
    """A broken GPU does not stop the start if another works; one that does not exist does."""
    failing.update(broken)

    async def check() -> None:
        await LocalWorkers(
            task=GPUS, device=device, job_timeout_s=20, confinement=confinement(tmp_path)
        ).check()

    with pytest.raises(ConvlastError, match=problem) if problem else contextlib.nullcontext():
        asyncio.run(check())
