"""How long finished jobs are kept, and what is remembered of those that are gone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from service.errors import GoneError, NotFoundError
from service.jobs import retention as retentions
from service.jobs.records import ARTIFACT
from service.jobs.retention import EXPIRED, REMOVED, Retention
from service.storage.inputs import InputKey
from tests.service.clock import Clock
from tests.service.jobs.boards import FakeWorkers, artifact_of, ended, in_loop, opened, path_of

KEY, OTHER = InputKey("alice", "00"), InputKey("alice", "11")


@pytest.fixture
def clock() -> Clock:
    """Make a clock."""
    return Clock()


def bounded(clock: Clock, max_bytes: int = 100) -> Retention:
    """Make bounds of a minute and of some bytes."""
    return Retention(max_bytes, 60, clock=clock)


def test_old_jobs_have_to_go(clock: Clock) -> None:
    """A job is expired after its age, and not before."""
    retention = bounded(clock)
    retention.keep("one", 10, None)
    clock.pass_by(30)
    retention.keep("two", 10, None)
    clock.pass_by(31)
    assert (retention.is_expired("one"), retention.is_expired("two")) == (True, False)
    assert retention.overdue() == ["one"]
    assert not retention.is_expired("unknown")


def test_the_oldest_go_where_there_is_too_much(clock: Clock) -> None:
    """Beyond the limit of bytes the oldest jobs have to go."""
    retention = bounded(clock)
    for name in ("one", "two", "three"):
        retention.keep(name, 40, None)
        clock.pass_by(1)
    assert (retention.is_full, retention.overdue()) == (True, ["one"])
    retention.forget("one", "alice", EXPIRED)
    assert (retention.is_full, retention.kept_bytes, len(retention)) == (False, 80, 2)


def test_too_many_jobs_have_to_go(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs without files are bounded by number, and so is what is remembered of them."""
    monkeypatch.setattr(retentions, "MOST_JOBS", 3)
    retention = bounded(clock)
    for number in range(5):
        retention.keep(str(number), 0, None)
        clock.pass_by(1)
    assert retention.is_full
    assert sorted(retention.overdue()) == ["0", "1"]
    for number in range(5):
        retention.forget(str(number), "alice", REMOVED)
    known = [retention.why_gone(str(number), "alice") for number in range(5)]
    assert known == [None, None, REMOVED, REMOVED, REMOVED]


def test_a_checkpoint_of_several_jobs_counts_once(clock: Clock) -> None:
    """It counts as long as one of its jobs is kept."""
    retention = bounded(clock)
    for name in ("one", "two", "three"):
        retention.keep(name, 5, (KEY, 50))
        clock.pass_by(1)
    assert (retention.kept_bytes, retention.overdue()) == (65, [])
    retention.keep("four", 5, (OTHER, 30))
    assert (retention.kept_bytes, retention.is_full) == (100, False)
    for name in ("one", "three"):
        retention.forget(name, "alice", REMOVED)
    assert retention.kept_bytes == 90
    retention.forget("two", "alice", REMOVED)
    assert retention.kept_bytes == 35
    retention.forget("four", "alice", REMOVED)
    assert retention.kept_bytes == 0


def test_a_job_that_is_kept_again_counts_once(clock: Clock) -> None:
    """A later end of the same job replaces the earlier one."""
    retention = bounded(clock)
    retention.keep("one", 40, (KEY, 20))
    retention.keep("one", 10, (KEY, 20))
    assert (retention.kept_bytes, len(retention)) == (30, 1)


def test_why_a_job_is_gone_is_told_to_its_owner(clock: Clock) -> None:
    """Nobody else learns that there was one, and a job that comes back is not gone."""
    retention = bounded(clock)
    retention.keep("one", 40, None)
    retention.forget("one", "alice", EXPIRED)
    assert retention.why_gone("one", "alice") == EXPIRED
    assert retention.why_gone("one", "bob") is None
    assert retention.why_gone("two", "alice") is None
    retention.comes_back("one")
    assert retention.why_gone("one", "alice") is None


@pytest.mark.parametrize("jump_s", [-1e6, 1e6])
def test_a_jump_of_the_time_of_day_changes_no_age(clock: Clock, jump_s: float) -> None:
    """Setting the clock back or forward while the service runs expires nothing."""
    retention = bounded(clock)
    retention.keep("one", 10, None)
    clock.jumped_s += jump_s
    assert not retention.is_expired("one")


def test_the_age_of_an_earlier_run_counts(clock: Clock) -> None:
    """A job from before a restart is as old as its end says, and one from the future is new."""
    retention = bounded(clock)
    retention.keep("old", 10, None, age_s=61)
    retention.keep("from the future", 10, None, age_s=-1e6)
    assert retention.overdue() == ["old"]
    clock.pass_by(61)
    assert retention.is_expired("from the future")


# On disk


@in_loop
async def test_a_restart_keeps_finished_jobs_within_the_bounds(tmp_path: Path) -> None:
    """A smaller store of the next run removes the oldest jobs with the first sweep."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        entries = [await ended(await board.submit(b"%d" % n, durable=True)) for n in range(3)]
        kept_bytes = board.jobs.table.kept_bytes
    async with opened(tmp_path, store_bytes=kept_bytes - 1) as again:
        assert again.jobs.table.kept_bytes == kept_bytes
        await again.jobs.table.sweep()
        assert {entry.id for entry in again.jobs.table} == {entry.id for entry in entries[1:]}
        with pytest.raises(GoneError, match=EXPIRED):
            again.jobs.table.find(entries[0].id, "alice")
        assert not (again.workspace.store_folder / entries[0].id).exists()
        assert len(list((tmp_path / "inputs").iterdir())) == 2


@in_loop
async def test_the_store_makes_room_by_itself(tmp_path: Path) -> None:
    """The oldest jobs go as soon as a new one has ended, with their checkpoints."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True), store_bytes=6_000) as board:
        entries = [await ended(await board.submit(b"%d" % n * 20, durable=True)) for n in range(4)]
        assert board.jobs.table.kept_bytes <= 6_000
        with pytest.raises(GoneError):
            board.jobs.table.find(entries[0].id, "alice")
        assert board.jobs.table.find(entries[-1].id, "alice").state == "succeeded"
        held = {entry.input_key.filename for entry in board.jobs.table}
        assert {path.name for path in (tmp_path / "inputs").iterdir()} == held


@in_loop
async def test_a_file_that_is_being_read_outlives_its_job(tmp_path: Path) -> None:
    """A download goes on although its job is removed meanwhile."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        entry = await ended(await board.submit(durable=True))
        path = path_of(entry, ARTIFACT)
        [download] = entry.open([ARTIFACT])
        await board.jobs.table.remove(entry)
        assert not path.exists()
        with closing(download):
            assert download.read() == artifact_of(b"checkpoint")


@in_loop
async def test_an_id_that_is_a_path_finds_nothing(tmp_path: Path) -> None:
    """Ids are looked up, and never used as paths."""
    async with opened(tmp_path, FakeWorkers(is_prompt=True)) as board:
        await ended(await board.submit(durable=True))
        for name in ("..", "../store", "", "."):
            with pytest.raises(NotFoundError):
                board.jobs.table.find(name, "alice")
