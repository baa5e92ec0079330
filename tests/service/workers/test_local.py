from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from convlast.errors import ConvlastError, OutOfMemoryError
from convlast.report import Report
from service.errors import NotReadyError, WorkerCrashedError
from service.problems import Problem, ProblemError
from service.workers import (
    Confinement,
    Finished,
    Job,
    JobFiles,
    known_trouble,
    messages,
    moving,
    output,
    process,
    running,
)
from service.workers.folders import WorkerFolders
from service.workers.lanes import lane
from service.workers.local import LocalWorkers
from tests.service.listening import Heard

FAKES, COLD = "tests.service.fakes", "tests.service.workers.cold"


JOB = Job(id="one", verb="convert", filename="m.pt")


async def ran(
    workers: LocalWorkers,
    folder: Path,
    content: bytes,
    listener: Heard | None = None,
    share: str = "a client",
) -> Finished:
    """Run a job whose checkpoint has this content."""
    source = folder.with_name(f"{folder.name}.upload")
    source.unlink(missing_ok=True)  # a job has made it read-only
    source.write_bytes(content)
    return await workers.run(JOB, JobFiles(source, folder), listener or Heard(), share=share)


def with_workers(
    use: Callable[[LocalWorkers], Awaitable[Finished | None]],
    task: str = FAKES,
    device: str = "cpu",
) -> Finished | None:
    """Start workers, run a test with them, and stop them."""

    async def main(folder: Path) -> Finished | None:
        workers = LocalWorkers(
            task=task, device=device, job_timeout_s=120, confinement=confinement(folder)
        )
        await workers.start()
        try:
            return await use(workers)
        finally:
            await workers.stop()

    with tempfile.TemporaryDirectory() as folder:
        finished = asyncio.run(main(Path(folder)))
        assert list(Path(folder).iterdir()) == [], "a worker takes its folder with it"
    return finished


def confinement(folder: Path) -> Confinement:
    """Return narrow limits for workers."""
    return Confinement(folder=folder, max_memory_bytes=2 << 30, max_file_bytes=1 << 30)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(180):  # the first one waits until the fork server has its packages
        while not condition():  # noqa: ASYNC110  # another process sets it
            await asyncio.sleep(0.02)


def test_progress_comes_over_the_pipe(tmp_path: Path) -> None:
    """The progress that a task reports arrives while it runs."""
    heard = Heard()

    async def use(workers: LocalWorkers) -> Finished:
        return await ran(workers, tmp_path, b"fine", heard)

    finished = with_workers(use)
    assert heard.progress == [("read", 1, 1)]
    assert heard.devices == ["cpu"]
    assert finished
    assert finished.artifact
    assert finished.artifact.filename == "m.channels_last_3d.pt"
    assert list(finished.seconds)[:2] == ["queue", "convert"]


def test_progress_is_told_now_and_then(tmp_path: Path) -> None:
    """Steps of one stage are thinned out, but each new total of an archive arrives."""
    heard = Heard()

    async def use(workers: LocalWorkers) -> Finished:
        return await ran(workers, tmp_path, b"tells", heard)

    assert with_workers(use)
    assert heard.progress[:2] == [("read", 1, 1), ("write", 0, 20_000)]
    assert heard.progress[-3:] == [("files", 0, 1), ("files", 0, 2), ("files", 0, 3)]
    assert len(heard.progress) < 2_000


def refusal(folder: Path, content: bytes) -> Problem:
    """Run a job that is refused."""

    async def use(workers: LocalWorkers) -> Finished:
        return await ran(workers, folder, content)

    with pytest.raises(ProblemError) as caught:
        with_workers(use)
    return caught.value.problem


def test_a_long_report_of_a_refusal_is_shortened(tmp_path: Path) -> None:
    """A long report is shortened to its errors and says so; a short one is complete."""
    whole = Report.model_validate_json(refusal(tmp_path, b"fails-verification 100").report or "")
    assert len(whole.layers) == 100
    short = Report.model_validate_json(refusal(tmp_path, b"fails-verification 5000").report or "")
    assert short.layers == []
    assert [found.code for found in short.findings] == ["values-differ", "report-shortened"]


def test_a_number_that_no_json_holds_is_told_as_a_large_one(tmp_path: Path) -> None:
    """A refusal with a huge number, as a hostile file may state it, is still a refusal."""
    problem = refusal(tmp_path, b"exceeds " + b"9" * 180)
    assert problem.code == "limit-exceeded"
    assert problem.members["found"] == messages.MAX_NUMBER


def test_a_worker_that_says_too_much_is_heard_slowly() -> None:
    """A flood of messages from a worker does not block the event loop."""
    count = 10_000

    async def main() -> int:
        reader = asyncio.StreamReader(limit=messages.MAX_LINE_BYTES)
        reader.feed_data(b'{"event":"stage","name":"read","done":0,"total":1}\n' * count)
        unused: Any = None
        worker = process.WorkerProcess(unused, reader, unused, WorkerFolders(Path()), unused, 0)
        events = worker.events()

        async def hear() -> None:
            for _ in range(count):
                await anext(events)

        hearing, turns = asyncio.ensure_future(hear()), 0
        while not hearing.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(main()) > 20


def test_a_process_that_the_kernel_ends_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL is out-of-memory if the kernel has counted an OOM kill, else a crash."""
    kills = iter(range(100))

    async def killed(workers: LocalWorkers) -> Finished:
        return await ran(workers, tmp_path, b"kills-itself")

    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        with_workers(killed)
    monkeypatch.setattr(process, "_count_oom_kills", lambda: next(kills))
    with pytest.raises(OutOfMemoryError):
        with_workers(killed)


def test_what_a_worker_printed_before_it_crashed_is_told(tmp_path: Path) -> None:
    """The log has the end of a worker's output, without control characters."""

    async def crashed(workers: LocalWorkers) -> Finished:
        return await ran(workers, tmp_path, b"prints terminate-called")

    with capture_logs() as lines, pytest.raises(WorkerCrashedError):
        with_workers(crashed)
    (line,) = (line for line in lines if line["event"] == "worker ended")
    assert line["how"] == "SIGSEGV"
    assert line["printed"].endswith("noise\nterminate-called ?[2J")
    assert len(line["printed"]) <= output.MAX_BYTES


def open_descriptors() -> int:
    """Return how many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_an_ended_worker_holds_no_descriptor(tmp_path: Path) -> None:
    """The pipes of a worker are closed when it has ended, and not when garbage is collected."""

    async def use(workers: LocalWorkers) -> Finished:
        held = []
        await ran(workers, tmp_path, b"fine")
        await until(lambda: workers.health().ready)
        before = open_descriptors()
        for _ in range(4):
            with pytest.raises(WorkerCrashedError) as crash:
                await ran(workers, tmp_path, b"prints terminate-called")
            held.append(crash)
        await until(lambda: open_descriptors() <= before)
        return await ran(workers, tmp_path, b"fine")

    gc.disable()
    try:
        assert with_workers(use)
    finally:
        gc.enable()


def test_cancelling_ends_the_job_and_frees_the_device(tmp_path: Path) -> None:
    """A cancelled job ends, and the next one runs."""

    async def use(workers: LocalWorkers) -> Finished:
        hanging = asyncio.ensure_future(ran(workers, tmp_path, b"hangs"))
        await until(lambda: workers.health().busy)
        hanging.cancel()
        await asyncio.wait({hanging})
        assert hanging.cancelled()
        return await ran(workers, tmp_path, b"fine")

    assert with_workers(use)


def test_a_client_that_leaves_while_the_job_is_tidied_up(tmp_path: Path) -> None:
    """Repeated cancellation, even during the clean-up, leaves nothing behind."""

    async def use(workers: LocalWorkers) -> Finished:
        folder = tmp_path / "job"
        folder.mkdir()
        hanging = asyncio.ensure_future(ran(workers, folder, b"hangs"))
        await until(lambda: workers.health().busy and not folder.exists())
        while not hanging.done():
            hanging.cancel()
            await asyncio.sleep(0)
        assert hanging.cancelled()
        assert not workers.health().busy
        assert folder.is_dir(), "it is where it came from"
        return await ran(workers, tmp_path, b"fine")

    assert with_workers(use)


def test_a_job_that_cannot_be_put_back_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a disk fails during the clean-up, that job fails and the next one runs."""
    move_back, faults = moving.move_back, iter([OSError("the disk is gone")])

    def fails_once(job: Job, files: JobFiles, folders: WorkerFolders) -> None:
        move_back(job, files, folders)
        for fault in faults:
            raise fault

    monkeypatch.setattr(running, "move_back", fails_once)

    async def use(workers: LocalWorkers) -> Finished:
        with pytest.raises(OSError, match="the disk is gone"):
            await ran(workers, tmp_path, b"fine")
        assert not workers.health().busy
        return await asyncio.wait_for(ran(workers, tmp_path, b"fine"), 60)

    assert with_workers(use) is not None


@pytest.mark.parametrize("told", [["an old driver"], 7, "text", {}, None])
def test_known_trouble_is_a_list_or_none(told: object) -> None:
    """A malformed known trouble from a worker is ignored."""
    assert known_trouble({"known_trouble": told}) == (told if isinstance(told, list) else [])


def test_a_client_that_leaves_while_a_worker_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors that are on their way to the fork server are not closed meanwhile."""
    connect = forkserver.connect_to_new_process
    inodes: list[list[int]] = []

    def slowly(descriptors: list[int]) -> tuple[int, int]:
        for pause_s in (0.0, 0.2):
            time.sleep(pause_s)
            inodes.append([os.fstat(descriptor).st_ino for descriptor in descriptors])
        return connect(descriptors)

    async def cancelled() -> None:
        context = multiprocessing.get_context("forkserver")
        arguments = (context, FAKES, "cpu", confinement(tmp_path))
        starting = asyncio.ensure_future(process.WorkerProcess.start(*arguments))
        await asyncio.sleep(0.1)
        starting.cancel()
        await asyncio.wait({starting})
        assert starting.cancelled()

    monkeypatch.setattr(forkserver, "connect_to_new_process", slowly)
    asyncio.run(cancelled())
    before, after = inodes
    assert before
    assert after == before


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("absent", "There is no such device."),
        ("breaks", "The warm-up failed."),
        ("freezes", "The device has not answered for 0.5 s."),
        ("tires", "The device has not answered for 0.5 s."),
    ],
)
def test_a_device_that_does_not_answer_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, problem: str
) -> None:
    """A device that fails or hangs is reported within its timeout."""
    if device == "freezes":  # the others have to answer first
        monkeypatch.setattr(lane, "WARM_UP_TIMEOUT_S", 0.5)
    monkeypatch.setattr(lane, "PROBE_TIMEOUT_S", 0.5)

    async def use(workers: LocalWorkers) -> None:
        await until(lambda: workers.health().problem == problem)
        assert not workers.health().ready
        if device != "tires":
            with pytest.raises(NotReadyError):
                await ran(workers, tmp_path, b"fine")

    with_workers(use, COLD, device)


def test_a_check_tells_whether_the_device_is_there(tmp_path: Path) -> None:
    """An explicitly named device that is absent stops the start."""
    asyncio.run(
        LocalWorkers(
            task=FAKES, device="cpu", job_timeout_s=1, confinement=confinement(tmp_path)
        ).check()
    )
    with pytest.raises(ConvlastError, match="no such device"):
        asyncio.run(
            LocalWorkers(
                task=COLD, device="absent", job_timeout_s=1, confinement=confinement(tmp_path)
            ).check()
        )


@pytest.mark.parametrize(
    ("device", "visible"), [("cpu", ""), ("cuda", os.environ.get("CUDA_VISIBLE_DEVICES"))]
)
def test_only_a_worker_of_a_gpu_sees_gpus(device: str, visible: str | None) -> None:
    """A CPU worker sees no GPU, or PyTorch would start CUDA in the sandbox for seconds."""

    async def use(workers: LocalWorkers) -> None:
        await until(lambda: bool(workers.health().facts))
        assert workers.health().facts["visible_gpus"] == visible

    with_workers(use, COLD, device)


def test_an_unforeseen_error_is_not_the_last_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """After any error at the start of a worker another one is started."""
    starts = iter([RuntimeError("of a kind that nobody thought of")])
    started = process.WorkerProcess.start

    async def fails_once(*arguments: Any) -> process.WorkerProcess:
        for error in starts:
            raise error
        return await started(*arguments)

    monkeypatch.setattr(process.WorkerProcess, "start", fails_once)
    monkeypatch.setattr(lane, "PROBE_INTERVAL_S", 0.05)

    async def ready(workers: LocalWorkers) -> None:
        await until(lambda: workers.health().problem == "No worker could be started.")
        await until(lambda: workers.health().ready)

    with_workers(ready)


def test_what_is_known_against_the_device_is_logged_once(tmp_path: Path) -> None:
    """A known trouble is logged for the first worker only."""

    async def use(workers: LocalWorkers) -> Finished:
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            finished = await ran(workers, folder, b"fine")
        return finished

    with capture_logs() as logs:
        assert with_workers(use)
    told = [entry for entry in logs if entry["event"] == "the device has a known trouble"]
    assert told == [{**told[0], "log_level": "warning", "trouble": "no-cudnn: There is none."}]


def test_the_kind_of_device_is_known_when_a_worker_is_ready() -> None:
    """A job's id waits for it: the name of the GPU, or cpu."""
    told: list[str] = []

    async def use(workers: LocalWorkers) -> None:
        told.append(await workers.kind())

    with_workers(use)
    with_workers(use, task="tests.service.workers.lanes.gpus", device="cuda:1")
    with_workers(use, device="auto")
    assert told == ["cpu", "A fake", "cpu"]


def test_no_kind_is_told_where_no_device_works() -> None:
    """Whoever waits for it is told that the service is not ready, instead of waiting on."""

    async def use(workers: LocalWorkers) -> None:
        with pytest.raises(NotReadyError):
            await workers.kind()

    with_workers(use, task="tests.service.workers.lanes.gpus", device="lost")


def test_jobs_that_wait_are_told_of_their_places(tmp_path: Path) -> None:
    """The next one has place 1, a running one has none, and places go down as jobs end."""

    async def use(workers: LocalWorkers) -> None:
        heard = [Heard() for _ in range(3)]
        sent = []
        for number, listener in enumerate(heard):
            folder = tmp_path / str(number)
            folder.mkdir()
            sent.append(asyncio.ensure_future(ran(workers, folder, b"hangs", listener)))
            await until(lambda: workers.health().busy)
        heard[0].places.clear()  # before it ran, it may have waited for the worker
        await until(lambda: heard[1].places[:1] == [1] and heard[2].places[:1] == [2])
        sent[0].cancel()
        await until(lambda: heard[2].places[-1:] == [1])
        for job in sent:
            job.cancel()
        await asyncio.wait(sent)
        assert (heard[0].places, set(heard[1].places)) == ([], {1})

    with_workers(use)
