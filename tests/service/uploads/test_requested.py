"""One request for a job: how long it waits, and what it leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from convlast.errors import NotACheckpointError, UnsafeCheckpointError
from service.context import Caller, Context
from service.errors import NotReadyError, QueueFullError, TooManyRequestsError
from service.headers.preferences import Preference
from service.jobs.journal import Journal
from service.problems import ProblemError
from service.storage.folder import Folder
from service.uploads.requested import Requested, Wanted, request_job, server_timing
from tests.service.jobs.boards import FakeWorkers, ended, in_loop
from tests.service.jobs.sending import Sender, applied

ALICE = Caller("alice", "alice")


def asks(
    context: Context, sender: Sender, *, caller: Caller = ALICE, kept: bool = False
) -> asyncio.Task[Requested]:
    """Send a request."""
    wanted = Wanted("convert", Preference.of(sender.request.headers), is_kept=kept)
    return asyncio.create_task(request_job(sender.request, context, caller, wanted))


def left_in(folder: Path) -> list[Path]:
    """Return the files of jobs in the work folder."""
    return [path for name in ("jobs", "store", "inputs") for path in (folder / name).iterdir()]


@in_loop
async def test_a_request_without_a_preference_waits_for_the_end(tmp_path: Path) -> None:
    """It gets its job when that has succeeded, with the fields of the answer."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        asking = asks(context, Sender())
        run = await workers.next()
        assert context.job_admission.taken_count == 1
        run.succeed()
        requested = await asking
        assert requested.entry.state == "succeeded"
        assert requested.headers["Convlast-Job"] == requested.entry.id
        assert requested.headers["Convlast-Verdict"] == "passed"
        assert "convert;dur=100.0" in requested.headers["Server-Timing"]
        assert context.job_admission.taken_count == 0
        requested.entry.release()
        assert left_in(tmp_path) == []


@in_loop
async def test_an_asynchronous_request_does_not_wait(tmp_path: Path) -> None:
    """It has its job as soon as that is written down; the job holds the place from then on."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        requested = await asks(context, Sender(prefer="respond-async"))
        (job,) = Journal(Folder(tmp_path / "store")).read_all()
        assert job.accepted.id == requested.entry.id
        assert (requested.entry.state, requested.preference.applied) == ("queued", "respond-async")
        assert context.job_admission.taken_count == 0
        assert context.pending_admission.taken_count == 1
        (await workers.next()).succeed()
        await ended(requested.entry)
        assert context.pending_admission.taken_count == 0


@in_loop
async def test_a_wait_that_is_over_leaves_the_job_running(tmp_path: Path) -> None:
    """The client gets the job as it is, and nobody stops it."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        sender = Sender()
        wanted = Wanted("convert", Preference(1, "wait=1"), is_kept=False)
        asking = asyncio.create_task(request_job(sender.request, context, ALICE, wanted))
        run = await workers.next()
        await run.begin()
        requested = await asking
        assert requested.entry.state == "running"
        run.succeed()
        assert (await ended(requested.entry)).state == "succeeded"


@in_loop
async def test_a_job_that_ends_in_time_is_the_answer(tmp_path: Path) -> None:
    """A client that waits gets the result if it is there in time."""
    workers = FakeWorkers(is_prompt=True)
    async with applied(tmp_path, workers) as context:
        requested = await asks(context, Sender(prefer="wait=25"))
        assert requested.entry.state == "succeeded"
        assert context.jobs.table.find(requested.entry.id, "alice") is requested.entry


@pytest.mark.parametrize("prefer", ["", "wait=25"])
@in_loop
async def test_a_client_that_disconnects_leaves_its_job(tmp_path: Path, prefer: str) -> None:
    """A durable job goes on, and one that only this client has waited for is stopped."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        sender = Sender(prefer=prefer)
        asking = asks(context, sender)
        run = await workers.next()
        await run.begin()
        sender.leave()
        with pytest.raises(ClientDisconnect):
            await asking
        assert context.job_admission.taken_count == 0
        if prefer:
            assert not run.is_gone
            run.succeed()
            (entry,) = context.jobs.table
            assert (await ended(entry)).state == "succeeded"
        else:
            assert run.is_gone
            assert left_in(tmp_path) == []


@in_loop
async def test_a_cancelled_request_leaves_its_job(tmp_path: Path) -> None:
    """A request that the server stops is like one whose client disconnects."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        asking = asks(context, Sender())
        run = await workers.next()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert run.is_gone
        assert left_in(tmp_path) == []


@in_loop
async def test_two_requests_share_a_job_and_each_gets_it(tmp_path: Path) -> None:
    """The second upload is removed, and the job ends when the last client has its answer."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        first, second = Sender(), Sender()
        asking = [asks(context, first), asks(context, second)]
        run = await workers.next()
        (entry,) = context.jobs.table
        while entry.waiters < 2:  # noqa: ASYNC110  # another task sets it
            await asyncio.sleep(0.001)
        first.leave()
        with pytest.raises(ClientDisconnect):
            await asking[0]
        assert not run.is_gone
        run.succeed()
        assert (await asking[1]).entry is entry
        entry.release()
        assert left_in(tmp_path) == []


@pytest.mark.parametrize("prefer", ["", "wait=25"])
@in_loop
async def test_a_failed_job_is_a_problem(tmp_path: Path, prefer: str) -> None:
    """The problem of the worker is raised, also for the same request later."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        asking = asks(context, Sender(prefer=prefer))
        run = await workers.next()
        run.fail(UnsafeCheckpointError("It asks for os.system.", names=["os.system"]))
        with pytest.raises(ProblemError, match=r"It asks for os.system") as caught:
            await asking
        assert caught.value.problem.members["names"] == ["os.system"]
        if prefer:
            with pytest.raises(ProblemError, match=r"It asks for os.system"):
                await asks(context, Sender(prefer=prefer))
            assert len(workers.runs) == 1
        else:
            assert left_in(tmp_path) == []


@in_loop
async def test_a_synchronous_client_of_a_suspended_job_is_told_to_come_back(
    tmp_path: Path,
) -> None:
    """The job goes on after the restart; a client that waits for a time gets the job."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        await asks(context, Sender(prefer="respond-async"))
        await workers.next()
        waiting, synchronous = asks(context, Sender(prefer="wait=25")), asks(context, Sender())
        (entry,) = context.jobs.table
        while entry.waiters < 2:  # noqa: ASYNC110  # another task sets it
            await asyncio.sleep(0.001)
        await context.jobs.suspend_waiting()
        with pytest.raises(NotReadyError, match="goes on when it is back"):
            await synchronous
        assert (await waiting).entry.state == "queued"


@pytest.mark.parametrize(
    ("settings", "prefer", "error"),
    [
        ({"pending_jobs": 1}, "respond-async", QueueFullError),
        ({"pending_jobs_per_key": 1}, "respond-async", TooManyRequestsError),
        ({"jobs_per_key": 1}, "", TooManyRequestsError),
    ],
)
@in_loop
async def test_a_request_without_a_place_is_refused_before_its_upload(
    tmp_path: Path, settings: dict[str, Any], prefer: str, error: type[Exception]
) -> None:
    """Nothing of its body is read, and nothing is left of it."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers, **settings) as context:
        first = asks(context, Sender(b"first", prefer=prefer))
        await workers.next()
        sender = Sender(b"second", prefer=prefer)
        with pytest.raises(error):
            await asks(context, sender)
        assert (await sender.receive())["body"] == b"second"
        first.cancel()
        await asyncio.wait({first})


@in_loop
async def test_a_joined_job_takes_a_place_of_the_asynchronous_ones(tmp_path: Path) -> None:
    """Nobody gets more jobs by first sending them without the preference."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers, pending_jobs=1) as context:
        sender = Sender()
        asking = asks(context, sender)
        await workers.next()
        await asks(context, Sender(prefer="respond-async"))
        sender.leave()
        with pytest.raises(ClientDisconnect):
            await asking
        assert context.pending_admission.taken_count == 1
        with pytest.raises(QueueFullError):
            await asks(context, Sender(b"other", prefer="respond-async"))


@in_loop
async def test_a_request_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    """Neither its folder nor its bytes in the quota nor its places."""
    workers = FakeWorkers()
    async with applied(tmp_path, workers) as context:
        with pytest.raises(NotACheckpointError):
            await asks(context, Sender(b"", prefer="respond-async"))
        torn = Sender(b"half", content_length="100")
        torn._messages[0]["more_body"] = True
        torn.leave()
        with pytest.raises(ClientDisconnect):
            await asks(context, torn)
        assert left_in(tmp_path) == []
        assert context.workspace.quota.taken_bytes == 0
        assert context.job_admission.taken_count == context.pending_admission.taken_count == 0


def test_wall_times_are_told_in_milliseconds() -> None:
    """Source: W3C Server Timing."""
    assert server_timing({"queue": 0.0, "convert": 1.25}) == "queue;dur=0.0, convert;dur=1250.0"
