"""Jobs whose checkpoint is fetched from a store, and whose results go to one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from convlast.stores.address import Address
from service.errors import WorkerCrashedError
from service.jobs.description import describe, json_of
from service.jobs.entry import JobEntry
from service.jobs.records import PROVENANCE_JSON
from service.jobs.running import attempts
from service.transfers.fetching import Found
from service.workers import REPORT_HTML, REPORT_JSON
from tests.service.jobs.boards import (
    Board,
    FakeWorkers,
    artifact_of,
    code_of,
    ended,
    in_loop,
    left_by_a_crash,
    opened,
)
from tests.service.jobs.stored import CONTENT, Gate, Store, held_up

SHA256 = hashlib.sha256(CONTENT).hexdigest()
STATEMENTS = ("provenance.json", "provenance.dsse.json")
DELIVERED = {
    "m.channels_last_3d.pt",
    "m.channels_last_3d.sha256",
    "m.channels_last_3d.report.json",
    "m.channels_last_3d.report.html",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Make a store with a checkpoint; it is left as it was."""
    made = Store(tmp_path / "store")
    yield made
    assert made.checkpoint.is_file()


async def submitted(store: Store, board: Board, **more: bool) -> JobEntry:
    """Look for the checkpoint, and submit a job with it."""
    found = await board.transfers.fetching.look(store.source)
    return await board.submitted(store.wanted(board, found, **more))


@in_loop
async def test_a_checkpoint_is_fetched_before_its_worker_begins(
    tmp_path: Path, store: Store
) -> None:
    """The worker gets its bytes and its digest, and its status has where it came from."""
    workers = FakeWorkers()
    async with opened(tmp_path / "work", workers, **store.settings) as board:
        entry = await submitted(store, board)
        run = await workers.next()
        assert run.files.source.read_bytes() == CONTENT
        assert run.job.sha256 == entry.sha256 == SHA256
        run.succeed()
        await ended(entry)
        told = describe(entry, base="", max_age_s=1)
        assert (told.state, told.attempts) == ("succeeded", 1)
        assert told.input.model_dump() == {
            "filename": "m.pt",
            "sha256": SHA256,
            "bytes": len(CONTENT),
            "source": store.source,
        }
        assert entry.outcome is not None
        assert [*entry.outcome.seconds][:3] == ["upload", "download", "queue"]


@in_loop
async def test_nothing_of_it_is_kept(tmp_path: Path, store: Store) -> None:
    """Neither as an input, nor in the folder of the job; its bytes count no longer."""
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        entry = await ended(await submitted(store, board))
        assert list((tmp_path / "work" / "inputs").iterdir()) == []
        assert list((tmp_path / "work" / "jobs").iterdir()) == []
        assert board.workspace.quota.taken_bytes == 0
        assert (entry.holds_input, entry.state) == (False, "succeeded")


@in_loop
async def test_how_far_it_is_can_be_followed(tmp_path: Path, store: Store) -> None:
    """Its first stage is the download; it waits in the queue only afterwards."""
    gate, workers = Gate(), FakeWorkers()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", workers, transfers, **store.settings) as board:
        entry = await submitted(store, board)
        await gate.reached.wait()
        told = describe(entry, base="", max_age_s=1)
        assert (told.state, told.input.sha256, told.place) == ("queued", None, None)
        progress = told.progress
        assert (progress.stage, progress.done, progress.total, progress.unit) == (
            *("download", 1, len(CONTENT)),
            "bytes",
        )
        gate.open.set()
        run = await workers.next()
        assert describe(entry, base="", max_age_s=1).progress.stage == "queue"
        run.succeed()
        await ended(entry)


@in_loop
async def test_the_same_version_has_the_same_job(tmp_path: Path, store: Store) -> None:
    """Another version, another target, and one without a version have jobs of their own."""
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        first = await ended(await submitted(store, board))
        assert await submitted(store, board) is first
        with_target = await ended(await submitted(store, board, target=True))
        store.change()
        second = await ended(await submitted(store, board))
        assert len({first.id, with_target.id, second.id}) == 3
    found = Found(Address.parse(store.source), "", 5)
    nameless = [store.wanted(board, replace(found)).source.content for _ in range(2)]
    assert nameless[0] != nameless[1]


@pytest.mark.parametrize("durable", [True, False])
@in_loop
async def test_a_download_is_cancelled(tmp_path: Path, store: Store, durable: bool) -> None:
    """It has stopped when the client is told, and has left nothing behind."""
    gate, workers = Gate(), FakeWorkers()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", workers, transfers, **store.settings) as board:
        entry = await submitted(store, board, durable=durable)
        await gate.reached.wait()
        assert await board.jobs.cancel(entry) == "cancelled"
        assert gate.is_left
        assert workers.runs == []
        assert list((tmp_path / "work" / "jobs").iterdir()) == []
        assert board.workspace.quota.taken_bytes == 0


@in_loop
async def test_a_download_that_nobody_waits_for_is_stopped(tmp_path: Path, store: Store) -> None:
    """As any other job is whose client has left."""
    gate = Gate()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", None, transfers, **store.settings) as board:
        entry = await submitted(store, board, durable=False)
        await gate.reached.wait()
        await board.jobs.leave(entry)
        assert gate.is_left
        assert entry.state == "cancelled"


@in_loop
async def test_a_crash_has_it_fetched_again(tmp_path: Path, store: Store) -> None:
    """The job goes on in the same version, and its bytes count."""
    gate = Gate()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", None, transfers, **store.settings) as board:
        entry = await submitted(store, board)
        await gate.reached.wait()
        left = left_by_a_crash(board)
    workers = FakeWorkers()
    async with opened(left, workers, **store.settings) as board:
        run = await workers.next()
        assert run.files.source.read_bytes() == CONTENT
        assert board.workspace.quota.taken_bytes == 2 * len(CONTENT)
        run.succeed()
        (again,) = board.jobs.table
        await ended(again)
        assert (again.id, again.state) == (entry.id, "succeeded")
    async with opened(left, workers, **store.settings) as board:
        (kept,) = board.jobs.table
        assert describe(kept, base="", max_age_s=1).input.sha256 == SHA256


@in_loop
async def test_another_version_after_a_crash_is_refused(tmp_path: Path, store: Store) -> None:
    """The id of the job stands for the version that its client has asked for."""
    gate = Gate()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", None, transfers, **store.settings) as board:
        await submitted(store, board)
        await gate.reached.wait()
        left = left_by_a_crash(board)
    store.change()
    async with opened(left, FakeWorkers(is_prompt=True), **store.settings) as board:
        (again,) = board.jobs.table
        assert code_of(await ended(again)) == "source-changed"


@in_loop
async def test_a_setting_that_was_taken_back_counts(tmp_path: Path, store: Store) -> None:
    """A job of before is not fetched from where nothing may be fetched now."""
    gate = Gate()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", None, transfers, **store.settings) as board:
        await submitted(store, board)
        await gate.reached.wait()
        left = left_by_a_crash(board)
    async with opened(left, FakeWorkers(is_prompt=True)) as board:
        (again,) = board.jobs.table
        assert code_of(await ended(again)) == "address-not-allowed"


@in_loop
async def test_a_service_that_drains_stops_downloads(tmp_path: Path, store: Store) -> None:
    """An asynchronous one goes on after the restart."""
    gate, workers = Gate(), FakeWorkers(is_prompt=True)
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", workers, transfers, **store.settings) as board:
        entry = await submitted(store, board)
        await gate.reached.wait()
        await board.jobs.suspend_waiting()
        assert (gate.is_left, entry.is_suspended, workers.runs) == (True, True, [])
    async with opened(tmp_path / "work", workers, **store.settings) as board:
        (again,) = board.jobs.table
        assert (await ended(again)).state == "succeeded"


@in_loop
async def test_a_second_attempt_fetches_nothing(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is here already, even if its store has another one now."""
    monkeypatch.setattr(attempts, "_PAUSE_S", 0.01)
    workers = FakeWorkers()
    async with opened(tmp_path / "work", workers, **store.settings) as board:
        entry = await submitted(store, board)
        first = await workers.next()
        store.change()
        first.fail(WorkerCrashedError("The process of the job ended with SIGSEGV."))
        second = await workers.next()
        assert second.files.source.read_bytes() == CONTENT
        second.succeed()
        assert (await ended(entry)).state == "succeeded"


@in_loop
async def test_fetching_has_a_time_limit(tmp_path: Path, store: Store) -> None:
    """It is that of an upload, and not that of the worker."""
    settings = {**store.settings, "upload_timeout_s": 1e-9}
    async with opened(tmp_path / "work", FakeWorkers(), **settings) as board:
        entry = await ended(await submitted(store, board))
        assert code_of(entry) == "timed-out"
        assert entry.outcome is not None
        assert entry.outcome.problem is not None
        assert "CONVLAST_UPLOAD_TIMEOUT_S" in entry.outcome.problem["detail"]
        assert (await submitted(store, board)) is not entry


@in_loop
async def test_results_are_delivered(tmp_path: Path, store: Store) -> None:
    """The artifact with its digest and its reports; it is kept there alone."""
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        entry = await ended(await submitted(store, board, target=True))
        assert store.delivered == DELIVERED
        artifact = store.results / "m.channels_last_3d.pt"
        assert artifact.read_bytes() == artifact_of(CONTENT)
        digest = hashlib.sha256(artifact_of(CONTENT)).hexdigest()
        line = (store.results / f"{artifact.stem}.sha256").read_text()
        assert line == f"{digest}  {artifact.name}\n"
        assert json.loads((store.results / "m.channels_last_3d.report.json").read_bytes())
        assert set(entry.made) == {REPORT_JSON, REPORT_HTML, PROVENANCE_JSON}
        assert board.jobs.table.is_lasting(entry)
        told = describe(entry, base="", max_age_s=1)
        assert told.target == store.target
        kinds = {"report", "html", "markdown", "junit", "sarif"}
        assert told.links.keys() == {"self", "events", "provenance", *kinds}
        assert entry.outcome is not None
        assert [*entry.outcome.seconds][-1] == "deliver"


@in_loop
async def test_no_statement_stays_beside_another_artifact(tmp_path: Path, store: Store) -> None:
    """An earlier job may have delivered one to the same names."""
    store.results.mkdir()
    stale = [store.results / f"m.channels_last_3d.{name}" for name in STATEMENTS]
    for path in stale:
        path.write_text("about an earlier artifact")
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        await ended(await submitted(store, board, target=True))
        assert store.delivered == DELIVERED
        for path in stale:
            path.write_text("about an earlier artifact")
        wanted = board.wanted(durable=True)
        wanted.source = replace(wanted.source, target=store.target, statement=True)
        await ended(await board.submitted(wanted))
    assert store.delivered == {*DELIVERED, stale[0].name}
    assert json.loads(stale[0].read_text())["subject"]


@in_loop
async def test_an_upload_is_delivered_too(tmp_path: Path, store: Store) -> None:
    """The source need not be in a store."""
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        wanted = board.wanted(durable=True)
        wanted.source = replace(wanted.source, target=store.target)
        await ended(await board.submitted(wanted))
        assert store.delivered == DELIVERED


@in_loop
async def test_a_delivery_is_cancelled(tmp_path: Path, store: Store) -> None:
    """What is not delivered yet is not delivered any more."""
    gate = Gate()
    transfers = held_up(store, delivering=gate)
    workers = FakeWorkers(is_prompt=True)
    async with opened(tmp_path / "work", workers, transfers, **store.settings) as board:
        entry = await submitted(store, board, target=True)
        await gate.reached.wait()
        told = describe(entry, base="", max_age_s=1)
        assert (told.state, told.progress.stage) == ("running", "deliver")
        assert await board.jobs.cancel(entry) == "cancelled"
        assert (gate.is_left, store.delivered) == (True, set())
        assert entry.outcome is not None
        assert "deliver" in entry.outcome.seconds


@in_loop
async def test_a_crash_in_a_delivery_runs_the_job_again(tmp_path: Path, store: Store) -> None:
    """Nothing says that all of it is there, so it is all made and delivered anew."""
    gate, workers = Gate(), FakeWorkers(is_prompt=True)
    transfers = held_up(store, delivering=gate)
    async with opened(tmp_path / "work", workers, transfers, **store.settings) as board:
        await submitted(store, board, target=True)
        await gate.reached.wait()
        left = left_by_a_crash(board)
    async with opened(left, workers, **store.settings) as board:
        (again,) = board.jobs.table
        await ended(again)
        assert (again.state, again.attempts, store.delivered) == ("succeeded", 2, DELIVERED)


@in_loop
async def test_a_delivery_that_fails_has_times_and_is_run_anew(
    tmp_path: Path, store: Store
) -> None:
    """The client hears which store it was; the same request tries again."""
    store.results.write_text("in the way of a folder")
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        entry = await ended(await submitted(store, board, target=True))
        assert code_of(entry) == "store-unavailable"
        assert entry.outcome is not None
        assert entry.outcome.seconds["convert"] == 0.1
        store.results.unlink()
        again = await ended(await submitted(store, board, target=True))
        assert (again.state, store.delivered) == ("succeeded", DELIVERED)


@in_loop
async def test_the_secret_of_an_address_is_not_shown(tmp_path: Path, store: Store) -> None:
    """It is written down, where only the service can read it, and told to nobody."""
    gate = Gate()
    transfers = held_up(store, fetching=gate)
    settings = {**store.settings, "sources": ("https://store.example/",)}
    async with opened(tmp_path / "work", None, transfers, **settings) as board:
        address = Address.parse("https://store.example/m.pt?signature=secret")
        entry = await board.submitted(store.wanted(board, Found(address, '"v1"', 5)))
        await gate.reached.wait()
        document = json_of(entry, base="", max_age_s=1)
        assert b"https://store.example/m.pt?" in document
        assert b"secret" not in document
        record = board.workspace.store_folder / entry.id / "request.json"
        assert b"secret" in record.read_bytes()
        assert board.workspace.store_folder.stat().st_mode & 0o777 == 0o700
