"""A job in memory: its sequence numbers, its status in each state, and who is told of changes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convlast.jobs import JobStatus
from service.jobs import entry as entries
from service.jobs.description import describe, file_links_of, json_of
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT, KeptFile, Outcome
from service.jobs.shared_folder import SharedFolder
from service.storage.quota import Quota
from service.storage.workspace import JobFolder
from service.workers import REPORT_HTML, REPORT_JSON
from tests.service.clock import Clock
from tests.service.jobs.boards import FakeWorkers, ended, in_loop, left_by_a_crash, opened
from tests.service.jobs.test_journal import JOB_ID, accepted


def status(entry: JobEntry, base: str = "") -> JobStatus:
    """Return the status of a job."""
    return describe(entry, base=base, max_age_s=60)


def outcome(entry: JobEntry, state: Any = "succeeded", **more: Any) -> Outcome:
    """Make the outcome of a job."""
    return Outcome(state=state, finished_at=100.0, seq=entry.next_seq(), **more)


def files(*names: str) -> dict[str, KeptFile]:
    """Make files with these names."""
    return {name: KeptFile(filename=name, bytes=1) for name in names}


def test_every_change_has_a_greater_number() -> None:
    """The number grows with each change of the document, and only then."""
    entry = JobEntry(accepted())
    changes: list[Callable[[], None]] = [
        lambda: entry.waits_at(2, 20.0),
        lambda: entry.waits_at(1, 10.0),
        entry.begins_attempt,
        lambda: entry.begins_on("cpu"),
        lambda: entry.goes_on("read", 1, 1),
        lambda: entry.goes_on("write", 0, 100),
        entry.begins_attempt,
        lambda: entry.begins_on("cuda:0"),
        lambda: entry.ends(outcome(entry)),
    ]
    seen = [(entry.seq, json_of(entry, base="", max_age_s=60))]
    for change in changes:
        change()
        assert entry.seq > seen[-1][0]
        assert json_of(entry, base="", max_age_s=60) != seen[-1][1]
        seen.append((entry.seq, json_of(entry, base="", max_age_s=60)))
    assert entry.outcome
    assert entry.seq == entry.outcome.seq == status(entry).progress.seq


def test_what_changes_nothing_has_the_same_number() -> None:
    """The same place again, and a suspension, are no news of the document."""
    entry = JobEntry(accepted())
    entry.waits_at(1, 10.0)
    before = (entry.seq, json_of(entry, base="", max_age_s=60))
    entry.waits_at(1, 10.0)
    entry.suspend()
    assert (entry.seq, json_of(entry, base="", max_age_s=60)) == before
    entry.ends(outcome(entry))
    assert entry.seq > before[0]


@in_loop
async def test_numbers_grow_across_restarts(tmp_path: Path) -> None:
    """Whatever a client has seen last, each change after a restart has a greater number."""
    folder, last = tmp_path / "work", 0
    for number in range(4):
        async with opened(folder) as board:
            entry = await board.submit(durable=True)
            assert entry.seq > last, number
            run = await board.workers.next()
            for place in range(9, 0, -1):
                run.listener.waits(place)
            if number % 2:  # in the other runs the service ends while the job waits
                await run.begin()
                for done in range(20):
                    run.listener.goes_on("write", done, 20)
            await asyncio.sleep(0.15)  # no restart is shorter
            last, folder = entry.seq, left_by_a_crash(board)
    async with opened(folder, FakeWorkers(is_prompt=True)) as board:
        (entry,) = board.jobs.table
        await ended(entry)
        assert entry.seq > last
        last, folder = entry.seq, left_by_a_crash(board)
    async with opened(folder) as board:
        (entry,) = board.jobs.table
        assert entry.seq == last


def test_a_document_is_written_once_for_all() -> None:
    """The same bytes are given out until something changes, for each base of the links."""
    entry = JobEntry(accepted())
    first = json_of(entry, base="", max_age_s=60)
    assert json_of(entry, base="", max_age_s=60) is first
    assert b"/prefix/jobs/" in json_of(entry, base="/prefix", max_age_s=60)
    entry.goes_on("read", 0, 1)
    assert json_of(entry, base="", max_age_s=60) != first
    parsed = JobStatus.model_validate_json(json_of(entry, base="", max_age_s=60))
    assert parsed == status(entry)


def test_a_waiting_job_tells_its_place() -> None:
    """Its place, its wait and its progress through the queue are told, and no times."""
    entry = JobEntry(accepted(options={"dtype": "float16", "smoke": "auto"}))
    entry.waits_at(3, 30.0)
    told = status(entry)
    assert (told.state, told.place, told.wait_s, told.attempts) == ("queued", 3, 30.0, 0)
    assert (told.progress.stage, told.progress.unit) == ("queue", "jobs")
    assert (told.started_at, told.finished_at, told.expires_at) == (None, None, None)
    assert told.options == {"dtype": "float16"}, "defaults are not told"
    assert told.created_at.isoformat() == "1970-01-01T00:00:01+00:00"
    assert set(told.links) == {"self", "events"}


def test_a_running_job_tells_how_far_it_is() -> None:
    """Its device, attempt, stage and start are told, and its place no more."""
    entry = JobEntry(accepted())
    entry.waits_at(1, 10.0)
    entry.begins_attempt()
    entry.begins_on("cuda:0")
    entry.goes_on("write", 10, 200)
    told = status(entry)
    assert (told.state, told.place, told.wait_s) == ("running", None, None)
    assert (told.attempts, told.device) == (1, "cuda:0")
    progress = told.progress
    assert (progress.stage, progress.done, progress.total) == ("write", 10, 200)
    assert (progress.unit, progress.seq) == ("bytes", entry.seq)
    assert told.started_at is not None
    entry.goes_on("smoke", 1, 3)
    assert status(entry).progress.unit == "steps"


def test_a_finished_job_tells_when_it_expires_and_where_its_files_are() -> None:
    """A job that is stored links to each file that it has, below the base."""
    entry = JobEntry(accepted())
    entry.is_kept = True
    made = files(ARTIFACT, REPORT_JSON, REPORT_HTML)
    entry.ends(outcome(entry, verdict="passed", files=made, started_at=90.0, device="cpu"))
    told = status(entry, "/root")
    own = f"/root/jobs/{JOB_ID}"
    assert told.links == {
        "self": own,
        "events": f"{own}/events",
        "artifact": f"{own}/artifact",
        "report": f"{own}/report",
        "html": f"{own}/report.html",
        "markdown": f"{own}/report.md",
        "junit": f"{own}/report.xml",
        "sarif": f"{own}/report.sarif",
        "archive": f"{own}/archive",
    }
    assert (told.state, told.verdict, told.is_finished) == ("succeeded", "passed", True)
    assert told.finished_at
    assert told.expires_at
    assert (told.expires_at - told.finished_at).total_seconds() == 60
    assert (told.progress.stage, told.progress.done, told.progress.total) == ("end", 1, 1)
    entry.is_kept = False
    assert file_links_of("", entry) == {}, "files that are not stored have no address"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_without_a_result_tells_why(state: str) -> None:
    """Its problem is told, and only the files that it has are linked."""
    entry = JobEntry(accepted())
    entry.is_kept = True
    made = files(REPORT_JSON) if state == "failed" else {}
    entry.ends(outcome(entry, state, problem={"code": "gone"}, files=made))
    told = status(entry)
    assert (told.state, told.problem) == (state, {"code": "gone"})
    kinds = {"report", "markdown", "junit", "sarif"} if made else set()
    assert told.links.keys() == {"self", "events", *kinds}


def test_the_rest_is_told_of_stages_that_count_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows from the rate of the stage so far, and needs a second of it."""
    clock = Clock()
    monkeypatch.setattr(entries, "time", SimpleNamespace(monotonic=clock, time=clock))

    def after(seconds: float, stage: str, done: int, total: int) -> float | None:
        clock.pass_by(seconds)
        entry.goes_on(stage, done, total)
        return status(entry).progress.remaining_s

    entry = JobEntry(accepted())
    entry.begins_on("cpu")
    assert after(0, "write", 0, 100) is None
    assert after(0.5, "write", 5, 100) is None, "too early"
    assert after(1.5, "write", 20, 100) == 8.0
    assert after(2.0, "write", 100, 100) == 0.0
    assert after(0, "smoke", 0, 4) is None
    assert after(9, "smoke", 2, 4) is None, "steps differ too much"
    assert after(0, "digest", 0, 10) is None
    assert after(2, "digest", 5, 10) == 2.0
    assert after(2, "digest", 0, 10) is None, "it began again"


@in_loop
async def test_everybody_who_waits_hears_of_each_change() -> None:
    """A wait ends with the first change after it began that makes its condition true."""
    entry = JobEntry(accepted())
    heard = [asyncio.ensure_future(entry.changed()) for _ in range(3)]
    end = asyncio.ensure_future(entry.until(lambda: entry.has_ended))
    await asyncio.sleep(0)
    entry.goes_on("read", 0, 1)
    await asyncio.gather(*heard)
    assert not end.done()
    entry.suspend()
    await end
    assert entry.outcome is None
    await entry.until(lambda: True)


def test_a_shared_folder_goes_with_its_last_holder(tmp_path: Path) -> None:
    """Threads that release at once remove it once, and give its bytes back once."""
    quota = Quota(1000)
    folder = JobFolder(tmp_path / "job", quota)
    folder.path.mkdir()
    folder.take(100)
    shared = SharedFolder(folder, 8)
    threads = [threading.Thread(target=shared.release) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folder.path.exists()
    shared.release()
    assert (folder.path.exists(), quota.taken_bytes) == (False, 0)


def test_times_are_rfc_3339_in_utc() -> None:
    """The document has times with a Z, and null for what is not there."""
    told = json.loads(json_of(JobEntry(accepted()), base="", max_age_s=60))
    assert (told["created_at"], told["finished_at"]) == ("1970-01-01T00:00:01Z", None)
