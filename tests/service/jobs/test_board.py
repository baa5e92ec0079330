"""Jobs that are submitted, joined, run anew, cancelled and left, with workers of the test."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from convlast.errors import StorageFullError, UnsafeCheckpointError
from service.errors import GoneError, NotFoundError, NotReadyError, TimedOutError
from service.jobs.journal import Journal
from service.jobs.records import ARTIFACT
from service.jobs.retention import CANCELLED, EXPIRED, REMOVED
from service.jobs.running import attempts, endings
from service.problems import Problem, ProblemError
from service.storage.folder import Folder
from service.storage.inputs import Inputs
from service.storage.workspace import JobFolder
from tests.service.jobs.boards import (
    FakeWorkers,
    artifact_of,
    code_of,
    content_of,
    ended,
    in_loop,
    opened,
)

CONTENT = b"checkpoint"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (attempts, endings):
        monkeypatch.setattr(module, "_PAUSE_S", 0.01)


def slow(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> tuple[Any, Any]:
    """Make a method wait; return an event that is set when it is called, and one to let it go."""
    called, may_go_on = threading.Event(), threading.Event()
    method = getattr(owner, name)

    def waits(*args: Any, **more: Any) -> Any:
        called.set()
        assert may_go_on.wait(30)
        return method(*args, **more)

    monkeypatch.setattr(owner, name, waits)
    return called, may_go_on


async def happens(event: threading.Event) -> None:
    """Wait until an event of another thread is set."""
    assert await asyncio.to_thread(event.wait, 30)


@in_loop
async def test_a_durable_job_succeeds_and_is_kept(tmp_path: Path) -> None:
    """Its files and its checkpoint are in the store, and nothing else is left or taken."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        entry = await ended(await board.submit(durable=True))
        assert entry.state == "succeeded"
        assert content_of(entry, ARTIFACT) == artifact_of(CONTENT)
        assert not list((tmp_path / "jobs").iterdir())
        assert (board.workspace.quota.taken_bytes, board.pending.taken_count) == (0, 0)
        assert board.jobs.table.find(entry.id, "alice") is entry


@in_loop
async def test_the_same_request_joins_a_live_job_and_a_finished_one(tmp_path: Path) -> None:
    """One job runs, whoever asks how often; its second upload is removed."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        run = await board.workers.next()
        assert await board.submit(durable=True) is entry
        assert len(list((tmp_path / "jobs").iterdir())) == 1
        run.succeed()
        await ended(entry)
        assert await board.submit(durable=True) is entry
        assert not list((tmp_path / "jobs").iterdir())
        assert len(board.workers.runs) == 1
        assert board.workspace.quota.taken_bytes == 0


@in_loop
async def test_another_request_has_another_job(tmp_path: Path) -> None:
    """Owner, verb, name, bytes and options are each a part of a job's id."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        requests: list[dict[str, Any]] = [
            {},
            {"owner": "bob"},
            {"verb": "inspect"},
            {"filename": "n.pt"},
            {"content": b"other"},
            {"dtype": "float16"},
        ]
        entries = [await ended(await board.submit(durable=True, **each)) for each in requests]
        assert len({entry.id for entry in entries}) == len(requests)
        board.workers.device_kind = "a GPU"
        assert (await board.submit(durable=True)).id != entries[0].id


@in_loop
async def test_nobody_finds_the_job_of_another_owner(tmp_path: Path) -> None:
    """A job that is another owner's is as unknown as one that does not exist."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        entry = await ended(await board.submit(durable=True))
        problems = []
        for job_id in (entry.id, "00" * 32):
            with pytest.raises(NotFoundError) as caught:
                board.jobs.table.find(job_id, "bob")
            problems.append(str(caught.value))
        assert problems[0] == problems[1]
        assert (board.jobs.table.of("bob"), board.jobs.table.of("alice")) == ([], [entry])


@in_loop
async def test_a_synchronous_job_is_stopped_when_its_last_client_leaves(tmp_path: Path) -> None:
    """It goes on while one client waits, and leaves nothing when none does."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        run = await board.workers.next()
        await run.begin()
        assert await board.submit() is entry
        await board.jobs.leave(entry)
        assert entry.state == "running"
        await board.jobs.leave(entry)
        assert (entry.state, run.is_gone) == ("cancelled", True)
        assert board.files() == set()
        with pytest.raises(NotFoundError):
            board.jobs.table.find(entry.id, "alice")


@in_loop
async def test_a_durable_job_goes_on_when_its_last_client_leaves(tmp_path: Path) -> None:
    """Nobody needs to wait for it."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        await board.jobs.leave(entry)
        (await board.workers.next()).succeed()
        assert (await ended(entry)).state == "succeeded"


@pytest.mark.parametrize("is_running", [False, True])
@in_loop
async def test_a_durable_request_makes_a_synchronous_job_durable(
    tmp_path: Path, *, is_running: bool
) -> None:
    """The job survives its first client, and its attempts are counted on disk from then on."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        run = await board.workers.next()
        if is_running:
            await run.begin()
        assert await board.submit(durable=True) is entry
        await board.jobs.leave(entry)
        await board.jobs.leave(entry)
        await run.begin()
        (job,) = Journal(Folder(board.workspace.store_folder)).read_all()
        assert (job.accepted.id, job.outcome, job.attempts) == (entry.id, None, 1)
        run.succeed()
        assert (await ended(entry)).state == "succeeded"
        assert board.jobs.table.find(entry.id, "alice") is entry


@in_loop
async def test_a_job_that_ends_while_it_becomes_durable_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the disk is, the client with the 202 finds the result, also after a restart."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        run = await board.workers.next()
        called, may_go_on = slow(monkeypatch, Inputs, "keep")
        joining = asyncio.ensure_future(board.submit(durable=True))
        await happens(called)
        run.succeed()
        await asyncio.sleep(0.1)
        may_go_on.set()
        joined = await joining
        await ended(joined)
        assert joined.id == entry.id
        found = board.jobs.table.find(entry.id, "alice")
        assert content_of(found, ARTIFACT)
        (job,) = Journal(Folder(board.workspace.store_folder)).read_all()
        assert job.outcome == found.outcome


@in_loop
async def test_a_job_that_begins_while_it_becomes_durable_has_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker reads the first upload as long as the second is not in place."""
    called, may_go_on = slow(monkeypatch, Inputs, "keep")
    made, may_be_made = slow(monkeypatch, JobFolder, "new_work")
    async with opened(tmp_path) as board:
        entry = await board.submit()
        joining = asyncio.ensure_future(board.submit(durable=True))
        await happens(called)
        await happens(made)
        may_be_made.set()
        run = await board.workers.next()
        assert run.files.source.read_bytes() == CONTENT
        may_go_on.set()
        assert await joining is entry
        run.succeed()
        assert (await ended(entry)).state == "succeeded"


@in_loop
async def test_a_client_that_joins_counts_before_its_upload_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is not stopped if the first client leaves meanwhile."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        run = await board.workers.next()
        called, may_go_on = slow(monkeypatch, JobFolder, "remove")
        joining = asyncio.ensure_future(board.submit())
        await happens(called)
        leaving = asyncio.ensure_future(board.jobs.leave(entry))
        await asyncio.sleep(0.05)
        may_go_on.set()
        await leaving
        assert await joining is entry
        run.succeed()
        assert (await ended(entry)).state == "succeeded"


@in_loop
async def test_a_client_that_gives_up_while_it_joins_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it the first client is the last one, whose leaving stops the job."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        await board.workers.next()
        called, may_go_on = slow(monkeypatch, JobFolder, "remove")
        joining = asyncio.ensure_future(board.submit())
        await happens(called)
        joining.cancel()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert entry.outcome is None
        await board.jobs.leave(entry)
        assert entry.state == "cancelled"
        assert board.files() == set()


@in_loop
async def test_a_client_that_gives_up_while_it_submits_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job is stopped, though nobody has got it."""
    async with opened(tmp_path) as board:
        called, may_go_on = slow(monkeypatch, JobFolder, "new_work")
        submitting = asyncio.ensure_future(board.submit())
        submitting.add_done_callback(lambda _: may_go_on.set())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        submitting.cancel()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        assert not list(board.jobs.table)
        assert board.files() == set()
        assert not called.is_set() or not board.workers.live


@in_loop
async def test_files_that_are_not_stored_stay_until_the_last_client_has_them(
    tmp_path: Path,
) -> None:
    """Two clients of a job share its folder, and the last to release it removes it."""
    async with opened(tmp_path) as board:
        entry = await board.submit()
        run = await board.workers.next()
        await board.submit()
        run.succeed()
        await ended(entry)
        for _ in range(2):
            assert content_of(entry, ARTIFACT)
            entry.release()
        assert board.files() == set()
        with pytest.raises(NotFoundError):
            board.jobs.table.find(entry.id, "alice")


# Cancelling


@pytest.mark.parametrize("is_durable", [False, True])
@pytest.mark.parametrize("moment", ["at once", "queued", "running"])
@in_loop
async def test_a_cancelled_job_leaves_no_file(
    tmp_path: Path, moment: str, *, is_durable: bool
) -> None:
    """Its process is gone, and nothing of it is on disk but, of a durable one, that it was."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=is_durable)
        if moment != "at once":
            run = await board.workers.next()
        if moment == "running":
            await run.begin()
        await board.jobs.cancel(entry)
        assert entry.state == "cancelled"
        assert board.workers.live == []
        left = {Path(name).name for name in board.files()} - {entry.id}
        assert left <= ({"request.json", "attempt-1", "outcome.json"} if is_durable else set())
        assert (board.workspace.quota.taken_bytes, board.pending.taken_count) == (0, 0)


@in_loop
async def test_a_cancelled_job_is_told_from_an_unknown_one(tmp_path: Path) -> None:
    """A durable one stays as cancelled, and one that was not written down is gone."""
    async with opened(tmp_path) as board:
        durable, passing = await board.submit(durable=True), await board.submit(b"other")
        for entry in (durable, passing):
            await board.jobs.cancel(entry)
        assert board.jobs.table.find(durable.id, "alice").state == "cancelled"
        assert code_of(durable) == "gone"
        with pytest.raises(GoneError, match=CANCELLED):
            board.jobs.table.find(passing.id, "alice")
        with pytest.raises(NotFoundError):
            board.jobs.table.find(passing.id, "bob")


@in_loop
async def test_a_folder_that_is_just_being_made_is_removed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is cancelled while a thread works for it waits for that thread."""
    called, may_go_on = slow(monkeypatch, JobFolder, "new_work")
    async with opened(tmp_path) as board:
        entry = await board.submit()
        await happens(called)
        cancelling = asyncio.ensure_future(board.jobs.cancel(entry))
        await asyncio.sleep(0.05)
        assert not cancelling.done()
        may_go_on.set()
        await cancelling
        assert board.files() == set()


@in_loop
async def test_a_cancel_during_the_last_write_comes_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job has succeeded, is kept, and is not cancelled as well."""
    async with opened(tmp_path) as board:
        called, may_go_on = slow(monkeypatch, Journal, "keep")
        entry = await board.submit(durable=True)
        (await board.workers.next()).succeed()
        await happens(called)
        cancelling = [asyncio.ensure_future(board.jobs.cancel(entry)) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert entry.outcome is None
        may_go_on.set()
        await asyncio.gather(*cancelling)
        assert (await ended(entry)).state == "succeeded"
        assert board.jobs.table.counts()["succeeded"] == 1
        assert board.jobs.table.kept_bytes > 0
        assert not list((tmp_path / "jobs").iterdir())


@pytest.mark.parametrize("turns", range(12))
@in_loop
async def test_a_cancel_at_the_very_end_has_one_result(tmp_path: Path, turns: int) -> None:
    """Whichever comes first, success or cancel, the job has one outcome, on disk as in memory."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        run = await board.workers.next()
        await run.begin()
        run.succeed()
        for _ in range(turns):
            await asyncio.sleep(0)
        if entry.outcome is None:
            await board.jobs.cancel(entry)
        await ended(entry)
        (job,) = Journal(Folder(board.workspace.store_folder)).read_all()
        assert job.outcome == entry.outcome
        if entry.state == "cancelled":
            assert not list((tmp_path / "inputs").iterdir())
        assert not list((tmp_path / "jobs").iterdir())


@pytest.mark.parametrize("turns", range(4))
@in_loop
async def test_a_request_that_comes_during_a_cancel_has_a_new_job(
    tmp_path: Path, turns: int
) -> None:
    """It never joins a job that is being stopped."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        if turns:
            await (await board.workers.next()).begin()
        cancelling = asyncio.ensure_future(board.jobs.cancel(entry))
        for _ in range(turns):
            await asyncio.sleep(0)
        again = await board.submit(durable=True)
        await cancelling
        assert (entry.state, again.state) == ("cancelled", "queued")
        assert board.jobs.table.find(entry.id, "alice") is again
        (await board.workers.next()).succeed()
        assert (await ended(again)).state == "succeeded"
        assert len(board.jobs.table.counts()) == 5
        (job,) = Journal(Folder(board.workspace.store_folder)).read_all()
        assert job.outcome == again.outcome


# Run anew, or not


@in_loop
async def test_a_cancelled_job_is_run_anew(tmp_path: Path) -> None:
    """The same request after a cancel gets a new job with the same id."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        await board.workers.next()
        await board.jobs.cancel(entry)
        again = await board.submit(durable=True)
        (await board.workers.next()).succeed()
        await ended(again)
        assert (again.id, again.state) == (entry.id, "succeeded")
        assert entry is not again


@pytest.mark.parametrize(
    ("error", "is_anew"),
    [
        (TimedOutError("It took too long."), True),
        (ProblemError(Problem("out-of-memory", "The device has no memory left.")), True),
        (RuntimeError("a bug"), True),
        (UnsafeCheckpointError("It asks for os.system.", names=["os.system"]), False),
        (ProblemError(Problem("no-conv3d-weights", "There are none.")), False),
        (ProblemError(Problem("verification-failed", "It differs.")), False),
    ],
)
@in_loop
async def test_failures_of_the_system_are_run_anew(
    tmp_path: Path, error: Exception, *, is_anew: bool
) -> None:
    """A refusal of the checkpoint is the answer again, and the job is not run twice for it."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        (await board.workers.next()).fail(error)
        assert (await ended(entry)).state == "failed"
        again = await board.submit(durable=True)
        assert (again is not entry) == is_anew
        assert len(board.jobs.table.counts()) == 5
        if is_anew:
            (await board.workers.next()).succeed()
            assert (await ended(again)).state == "succeeded"
        assert len(board.workers.runs) == 1 + is_anew


@in_loop
async def test_an_expired_job_is_run_anew(tmp_path: Path) -> None:
    """What is too old is gone, told apart from unknown, and made again by the same request."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True), store_age_s=0.05) as board:
        entry = await ended(await board.submit(durable=True))
        await asyncio.sleep(0.1)
        with pytest.raises(GoneError, match=EXPIRED):
            board.jobs.table.find(entry.id, "alice")
        again = await ended(await board.submit(durable=True))
        assert again is not entry
        await asyncio.sleep(0.1)
        await board.jobs.table.sweep()
        assert board.files() == set()
        with pytest.raises(GoneError, match=EXPIRED):
            board.jobs.table.find(entry.id, "alice")


@in_loop
async def test_no_request_joins_a_job_whose_removal_has_begun(tmp_path: Path) -> None:
    """Its files are still there, but soon they are not: the same request runs it anew."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        entry = await ended(await board.submit(durable=True))
        removing = asyncio.ensure_future(board.jobs.table.remove(entry))
        await asyncio.sleep(0)
        assert not board.jobs.table.is_lasting(entry)
        again = await ended(await board.submit(durable=True))
        await removing
        assert again is not entry
        assert board.jobs.table.is_lasting(again)


@in_loop
async def test_a_removed_job_is_gone_until_it_is_submitted_again(tmp_path: Path) -> None:
    """Nothing of it is left, and the same request runs it anew."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        entry = await ended(await board.submit(durable=True))
        await board.jobs.table.remove(entry)
        assert board.files() == set()
        assert board.jobs.table.kept_bytes == 0
        with pytest.raises(GoneError, match=REMOVED):
            board.jobs.table.find(entry.id, "alice")
        again = await ended(await board.submit(durable=True))
        assert board.jobs.table.find(entry.id, "alice") is again


@in_loop
async def test_a_request_during_a_removal_is_not_removed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new job is written down after the old one is gone from the disk."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        (await board.workers.next()).succeed()
        await ended(entry)
        called, may_go_on = slow(monkeypatch, Journal, "remove")
        removing = asyncio.ensure_future(board.jobs.table.remove(entry))
        await happens(called)
        submitting = asyncio.ensure_future(board.submit(durable=True))
        await asyncio.sleep(0.1)
        may_go_on.set()
        await removing
        again = await submitting
        assert again is not entry
        (job,) = Journal(Folder(board.workspace.store_folder)).read_all()
        assert (job.accepted, job.outcome) == (again.accepted, None)
        assert (tmp_path / "inputs" / again.input_key.filename).is_file()


# Checkpoints that the service has


@in_loop
async def test_bytes_that_a_job_has_need_no_upload(tmp_path: Path) -> None:
    """A request may name the checkpoint of a durable job, with other options or none."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        first = await ended(await board.submit(durable=True, filename="other.pt"))
        with board.jobs.table.held_input("alice", first.accepted.sha256) as accepted:
            assert accepted.filename == "other.pt"
            entry = await ended(await board.submitted(board.named(CONTENT)))
        assert entry.state == "succeeded"
        assert content_of(entry, ARTIFACT) == artifact_of(CONTENT)
        entry.release()
        assert len(list((tmp_path / "inputs").iterdir())) == 1
        await board.jobs.table.remove(first)
        assert board.files() == set()


@in_loop
async def test_nobody_can_name_the_bytes_of_another_owner(tmp_path: Path) -> None:
    """Bytes that nobody has, and bytes that another owner has, are told the same."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        first = await ended(await board.submit(durable=True))
        for owner, sha256 in [("bob", first.accepted.sha256), ("alice", "00" * 32)]:
            with pytest.raises(NotFoundError, match="does not have these bytes"):
                board.jobs.table.held_input(owner, sha256).__enter__()
        assert len(list((tmp_path / "inputs").iterdir())) == 1


@in_loop
async def test_a_named_job_that_becomes_durable_holds_its_bytes_once(tmp_path: Path) -> None:
    """When both of its jobs are removed, its checkpoint is."""
    async with opened(tmp_path) as board:
        first = await board.submit(durable=True, filename="other.pt")
        (await board.workers.next()).succeed()
        await ended(first)
        entry = await board.submitted(board.named(CONTENT))
        run = await board.workers.next()
        assert await board.submitted(board.named(CONTENT, durable=True)) is entry
        run.succeed()
        await ended(entry)
        for each in (first, entry):
            await board.jobs.table.remove(each)
        assert board.files() == set()


# A full disk when a job is accepted


@pytest.mark.parametrize("place", ["Inputs.keep", "Journal.accept"])
@in_loop
async def test_a_job_that_cannot_be_written_down_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The request is refused, and the next one finds the room."""
    owner = {"Inputs": Inputs, "Journal": Journal}[place.partition(".")[0]]
    async with opened(tmp_path) as board:
        with monkeypatch.context() as patch:
            patch.setattr(owner, place.partition(".")[2], _is_full)
            with pytest.raises(StorageFullError):
                await board.submit(durable=True)
        assert board.files() == set()
        assert not list(board.jobs.table)
        assert board.workspace.quota.taken_bytes == 0
        assert (await board.submit(durable=True)).state == "queued"


@pytest.mark.parametrize("place", ["Inputs.keep", "Journal.accept"])
@in_loop
async def test_a_job_that_cannot_become_durable_goes_on_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The durable request is refused, and the client that waits gets its result."""
    owner = {"Inputs": Inputs, "Journal": Journal}[place.partition(".")[0]]
    async with opened(tmp_path) as board:
        entry = await board.submit()
        with monkeypatch.context() as patch:
            patch.setattr(owner, place.partition(".")[2], _is_full)
            with pytest.raises(StorageFullError):
                await board.submit(durable=True)
        run = await board.workers.next()
        run.succeed()
        assert (await ended(entry)).state == "succeeded"
        entry.release()
        assert board.files() == set()


@in_loop
async def test_a_job_that_cannot_be_run_anew_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk is full then, the old job is gone and takes no room."""
    async with opened(tmp_path) as board:
        entry = await board.submit(durable=True)
        (await board.workers.next()).fail(TimedOutError("It took too long."))
        await ended(entry)
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "accept", _is_full)
            with pytest.raises(StorageFullError):
                await board.submit(durable=True)
        assert board.files() == set()
        assert board.jobs.table.kept_bytes == 0


def _is_full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


# Draining


@in_loop
async def test_draining_suspends_what_waits_and_lets_the_rest_end(tmp_path: Path) -> None:
    """Durable jobs that wait go on after a restart; the running and synchronous ones end."""
    async with opened(tmp_path) as board:
        running, waiting = await board.submit(durable=True), await board.submit(b"b", durable=True)
        passing = await board.submit(b"c")
        runs = [await board.workers.next() for _ in range(3)]
        by_id = {run.job.id: run for run in runs}
        await by_id[running.id].begin()
        await board.jobs.suspend_waiting()
        assert (waiting.is_suspended, waiting.outcome, running.is_suspended) == (True, None, False)
        assert by_id[waiting.id].is_gone
        none_runs = asyncio.ensure_future(board.jobs.none_runs())
        await asyncio.sleep(0.05)
        assert not none_runs.done()
        by_id[running.id].succeed()
        await none_runs
        by_id[passing.id].succeed()
        assert (await ended(running)).state == (await ended(passing)).state == "succeeded"
        with pytest.raises(NotReadyError):
            await board.jobs.cancel(waiting)


@in_loop
async def test_a_durable_job_that_comes_while_draining_is_only_written_down(
    tmp_path: Path,
) -> None:
    """It is run when the service is back, and a synchronous one is run at once."""
    async with opened(tmp_path) as board:
        await board.jobs.suspend_waiting()
        entry = await board.submit(durable=True)
        assert (entry.is_suspended, entry.task) == (True, None)
        passing = await board.submit(b"other")
        (await board.workers.next()).succeed()
        assert (await ended(passing)).state == "succeeded"
        assert len(board.workers.runs) == 1
        jobs = list(Journal(Folder(board.workspace.store_folder)).read_all())
        assert [job.accepted.id for job in jobs] == [entry.id]
