"""Attempts at a job: tried again, given up, waiting for a disk that is full, and after restarts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from convlast.options import Options
from service.errors import NotReadyError, WorkerCrashedError
from service.jobs.description import json_of
from service.jobs.journal import Journal
from service.jobs.records import ARTIFACT, Accepted
from service.jobs.running import attempts, endings
from service.jobs.running.attempts import MOST_RESTARTS
from service.problems import Problem, ProblemError
from service.threads import Threads
from service.workers import REPORT_JSON
from tests.service.jobs.boards import (
    FakeWorkers,
    artifact_of,
    code_of,
    content_of,
    ended,
    in_loop,
    left_by_a_crash,
    opened,
    path_of,
)

CRASH = WorkerCrashedError("The process of the job ended with SIGSEGV.")
LOST = ProblemError(Problem("device-lost", "CUDA error."))
NOT_READY = NotReadyError("No device works.")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (attempts, endings):
        monkeypatch.setattr(module, "_PAUSE_S", 0.01)


class Disk:
    """A disk that is full while a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.is_full, self.refused = False, 0
        method = getattr(Journal, name)

        def write(*args: Any, **more: Any) -> Any:
            if self.is_full:
                self.refused += 1
                raise OSError(28, "No space left on device")
            return method(*args, **more)

        monkeypatch.setattr(Journal, name, write)

    async def refuses(self) -> None:
        """Wait until it has refused something."""
        while not self.refused:  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0.001)


def rewrite(folder: Path, change: dict[str, Any]) -> None:
    """Change the request of the only job in a work folder."""
    (path,) = folder.glob("store/*/request.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


# Tried again


@pytest.mark.parametrize(("error", "times"), [(CRASH, 2), (LOST, 3)])
@in_loop
async def test_a_durable_job_is_tried_again_after_a_crash(
    tmp_path: Path, error: Exception, times: int
) -> None:
    """It fails with the reason after as many attempts as its code allows."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        for _ in range(times):
            (await board.workers.next()).fail(error)
        await ended(entry)
        assert (entry.state, entry.attempts, len(board.workers.runs)) == ("failed", times, times)
        assert code_of(entry) == ("worker-crashed" if error is CRASH else "device-lost")
        assert not list((tmp_path / "jobs").iterdir())


@in_loop
async def test_an_attempt_after_a_crash_may_succeed(tmp_path: Path) -> None:
    """The files of the second attempt are kept, and those of the first are gone."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        run = await board.workers.next()
        (run.files.folder / "half").write_bytes(b"half")
        run.fail(CRASH)
        second = await board.workers.next()
        assert not run.files.folder.exists()
        second.succeed()
        await ended(entry)
        assert entry.state == "succeeded"
        assert path_of(entry, ARTIFACT).parent == board.workspace.store_folder / entry.id / "2"


@in_loop
async def test_a_crash_after_an_attempt_that_was_lost_otherwise_is_the_first_one(
    tmp_path: Path,
) -> None:
    """A job whose service, or whose device, was lost has another attempt after a crash."""
    async with opened(tmp_path / "work") as board:
        await board.submit(durable=True)
        await (await board.workers.next()).begin()
        folder = left_by_a_crash(board)
    async with opened(folder) as again:
        (entry,) = again.jobs.table
        for error in (LOST, CRASH):
            (await again.workers.next()).fail(error)
        (await again.workers.next()).succeed()
        await ended(entry)
        assert (entry.state, entry.attempts) == ("succeeded", 4)


@in_loop
async def test_a_synchronous_job_is_tried_once(tmp_path: Path) -> None:
    """Its client decides whether to send it again."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        (await board.workers.next()).fail(CRASH)
        await ended(entry)
        assert (code_of(entry), len(board.workers.runs)) == ("worker-crashed", 1)
        assert board.files() == set()


@in_loop
async def test_a_durable_job_waits_for_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no device works it is tried again, without counting, until the time is up."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        for _ in range(5):
            run = await board.workers.next()
            run.answer.set_exception(NOT_READY)
            run.turn.set()
        (await board.workers.next()).succeed()
        assert (await ended(entry)).state == "succeeded"
        monkeypatch.setattr(attempts, "PATIENCE_S", 0.0)
        late = await board.submit(b"other", durable=True)
        (await board.workers.next()).fail(NOT_READY)
        assert code_of(await ended(late)) == "not-ready"


@in_loop
async def test_a_refusal_keeps_its_report(tmp_path: Path) -> None:
    """A durable job that was refused has the report of the worker, and a problem without it."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        run = await board.workers.next()
        (run.files.folder / REPORT_JSON).write_text('{"verdict": "failed"}')
        problem = Problem("verification-failed", "It differs.", report='{"verdict": "failed"}')
        run.fail(ProblemError(problem))
        await ended(entry)
        assert json.loads(content_of(entry, REPORT_JSON)) == {"verdict": "failed"}
        assert entry.problem is problem
        assert entry.outcome
        assert entry.outcome.problem
        assert "report" not in entry.outcome.problem


@in_loop
async def test_a_worker_that_lies_about_its_files_has_crashed(tmp_path: Path) -> None:
    """An answer without the files that it names is no success."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        run = await board.workers.next()
        entry.folder.path.joinpath("work-1", ARTIFACT).mkdir()
        run.succeed()
        assert (await ended(entry)).state == "failed"


# A full disk


@in_loop
async def test_the_end_of_a_durable_job_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is what is on disk: it runs until its outcome is written."""
    disk = Disk(monkeypatch, "keep")
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        run = await board.workers.next()
        await run.begin()
        disk.is_full = True
        run.succeed()
        await disk.refuses()
        assert (entry.state, run.is_gone) == ("running", True)
        disk.is_full = False
        assert (await ended(entry)).state == "succeeded"
        assert content_of(entry, ARTIFACT) == artifact_of(b"checkpoint")


@in_loop
async def test_a_result_that_never_finds_room_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the job has failed, which is written down as soon as it can be."""
    monkeypatch.setattr(endings, "PATIENCE_S", 0.0)
    disk = Disk(monkeypatch, "keep")
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        disk.is_full = True
        (await board.workers.next()).succeed()
        await disk.refuses()
        await asyncio.sleep(0.05)
        assert entry.outcome is None
        disk.is_full = False
        assert code_of(await ended(entry)) == "storage-full"
        names = {Path(name).name for name in board.files() if entry.id in name}
        assert names == {entry.id, "request.json", "attempt-1", "outcome.json"}


@in_loop
async def test_a_full_disk_does_not_hold_a_stop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that stops meanwhile goes on with the job after its restart."""
    disk = Disk(monkeypatch, "keep")
    async with opened(tmp_path / "work") as board:
        entry = await board.submit(durable=True)
        disk.is_full = True
        (await board.workers.next()).succeed()
        await disk.refuses()
        await board.jobs.stop()
        assert entry.outcome is None
        assert not list((tmp_path / "work" / "jobs").iterdir())
    disk.is_full = False
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True)) as again:
        (resumed,) = again.jobs.table
        assert (await ended(resumed)).state == "succeeded"


@in_loop
async def test_a_stored_result_that_finds_no_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client that waits hears of it at once, whatever was moved already."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with opened(tmp_path) as board:
        entry = await board.submit(kept=True)
        monkeypatch.setattr(Journal, "accept", full)
        (await board.workers.next()).succeed()
        assert code_of(await ended(entry)) == "storage-full"
        assert board.files() == set()


@in_loop
async def test_an_attempt_that_cannot_be_written_down_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk is full then, the job has failed without having run."""
    disk = Disk(monkeypatch, "claim")
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        disk.is_full = True
        run = await board.workers.next()
        run.succeed()
        assert code_of(await ended(entry)) == "storage-full"
        assert (entry.attempts, run.begun.is_set()) == (0, False)


@pytest.mark.parametrize("is_durable", [False, True])
@in_loop
async def test_a_result_larger_than_the_store_is_refused(
    tmp_path: Path, *, is_durable: bool
) -> None:
    """No other job is removed for one that does not fit at all."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True), store_bytes=20_000) as board:
        small = await ended(await board.submit(durable=True))
        large = await ended(await board.submit(b"x" * 20_001, kept=True, durable=is_durable))
        assert (small.state, code_of(large)) == ("succeeded", "storage-full")
        assert board.jobs.table.find(small.id, "alice") is small


@in_loop
async def test_a_result_that_fits_without_its_checkpoint_is_kept_without(tmp_path: Path) -> None:
    """A job that has succeeded is not removed at once for the size of its checkpoint."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True), store_bytes=20_000) as board:
        entry = await ended(await board.submit(b"x" * 11_000, durable=True))
        assert entry.state == "succeeded"
        assert board.jobs.table.find(entry.id, "alice") is entry
        assert not list((tmp_path / "inputs").iterdir())
        assert board.jobs.table.kept_bytes <= 20_000


# Restarts


@in_loop
async def test_jobs_go_on_after_a_crash_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that waited and the one that ran are run again, and finished ones are as they were."""
    monkeypatch.setattr(attempts, "RECORDING", Threads("one after another", 1))
    async with opened(tmp_path / "work") as board:
        contents = [b"done", b"runs", b"waits", b"waits too"]
        entries = [await board.submit(content, durable=True) for content in contents]
        runs = {(await board.workers.next()).job.sha256: None for _ in entries}
        assert len(runs) == 4
        by_id = {run.job.id: run for run in board.workers.runs}
        by_id[entries[0].id].succeed()
        await by_id[entries[1].id].begin()
        await ended(entries[0])
        passing = await board.submit(b"passing")
        folder = left_by_a_crash(board)
    async with opened(folder) as again:
        assert {entry.id for entry in again.jobs.table} == {entry.id for entry in entries}
        assert passing.id not in {run.job.id for run in again.workers.runs}
        done = again.jobs.table.find(entries[0].id, "alice")
        assert done.outcome == entries[0].outcome
        assert json_of(done, base="", max_age_s=1) == json_of(entries[0], base="", max_age_s=1)
        order = [await again.workers.next() for _ in range(3)]
        assert [run.job.id for run in order] == [entry.id for entry in entries[1:]]
        for run, content in zip(order, contents[1:], strict=True):
            assert run.files.source.read_bytes() == content
            run.succeed()
        resumed = [await ended(again.jobs.table.find(entry.id, "alice")) for entry in entries]
        assert [entry.attempts for entry in resumed] == [1, 2, 1, 1]
        assert {entry.state for entry in resumed} == {"succeeded"}
        assert again.workspace.quota.taken_bytes == again.pending.taken_count == 0


@in_loop
async def test_a_suspended_job_goes_on_after_a_stop(tmp_path: Path) -> None:
    """A stopped service leaves only what its next start needs."""
    async with opened(tmp_path) as board:
        running, waiting = await board.submit(durable=True), await board.submit(b"b", durable=True)
        await (await board.workers.next()).begin()
        passing = await board.submit(b"passing")
    assert (running.outcome, waiting.outcome, passing.state) == (None, None, "cancelled")
    assert board.workers.live == []
    assert not list((tmp_path / "jobs").iterdir())
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as again:
        for entry in again.jobs.table:
            assert (await ended(entry)).state == "succeeded"
        assert len(list(again.jobs.table)) == 2


@in_loop
async def test_a_job_that_ends_the_service_is_given_up(tmp_path: Path) -> None:
    """After some restarts it has failed, without being run once more."""
    folder = tmp_path / "work"
    for number in range(MOST_RESTARTS):
        async with opened(folder) as board:
            if not number:
                await board.submit(durable=True)
            (entry,) = board.jobs.table
            assert entry.attempts == number
            await (await board.workers.next()).begin()
            folder = left_by_a_crash(board)
    async with opened(folder) as board:
        (entry,) = board.jobs.table
        await ended(entry)
        assert (entry.state, code_of(entry)) == ("failed", "worker-crashed")
        assert board.workers.runs == []


@in_loop
async def test_options_of_another_version_fail_with_a_reason(tmp_path: Path) -> None:
    """A job whose options this version does not know is not lost."""
    async with opened(tmp_path / "work") as board:
        await board.submit(durable=True)
        folder = left_by_a_crash(board)
    rewrite(folder, {"options": {"dtype": "float4"}, "version": "9.9"})
    async with opened(folder) as again:
        (entry,) = again.jobs.table
        assert code_of(await ended(entry)) == "invalid-option"
        assert again.jobs.table.find(entry.id, "alice").state == "failed"
        assert again.workers.runs == []


@in_loop
async def test_more_members_of_another_version_are_ignored(tmp_path: Path) -> None:
    """A job that a later version has accepted is run after a step back."""
    async with opened(tmp_path / "work") as board:
        await board.submit(durable=True)
        folder = left_by_a_crash(board)
    rewrite(folder, {"priority": 7, "version": "9.9"})
    async with opened(folder, FakeWorkers(is_prompt=True)) as again:
        (entry,) = again.jobs.table
        assert (await ended(entry)).state == "succeeded"


@in_loop
async def test_a_lost_checkpoint_fails_its_job(tmp_path: Path) -> None:
    """If somebody has removed the checkpoint, the job ends, and does not stop the start."""
    async with opened(tmp_path / "work") as board:
        await board.submit(durable=True)
        folder = left_by_a_crash(board)
    for path in (folder / "inputs").iterdir():
        path.unlink()
    async with opened(folder) as again:
        (entry,) = again.jobs.table
        assert code_of(await ended(entry)) == "internal"


@in_loop
async def test_checkpoints_that_no_job_holds_are_removed_by_a_start(tmp_path: Path) -> None:
    """A crash between the checkpoint and the request of a job leaves nothing."""
    async with opened(tmp_path / "work") as board:
        entry = await board.submit(durable=True)
        folder = left_by_a_crash(board)
    (folder / "inputs" / ("0" * 64)).write_bytes(b"left")
    (folder / "store" / entry.id / "request.json").unlink()
    async with opened(folder) as again:
        assert again.files() == set()


def test_what_is_accepted_is_read_as_it_was_written() -> None:
    """The record of a job survives JSON."""
    accepted = Accepted(
        id="ab",
        owner="alice",
        share="alice",
        verb="inspect",
        filename="mödel.pt",
        sha256="00",
        bytes=3,
        options=Options(select=("a*", "b")).model_dump(mode="json"),
        created_at=1764201600.123456,
        version="1",
    )
    again = Accepted.model_validate_json(accepted.model_dump_json())
    assert again == accepted
    assert Options(**again.options) == Options(select=("a*", "b"))
