from __future__ import annotations

from pathlib import Path

import pytest

from convlast.errors import StorageFullError
from service.errors import NotFoundError
from service.storage.slices import FileSlice
from service.storage.store import ARTIFACT, Store, StoredJob
from tests.service.clock import Clock


@pytest.fixture
def clock() -> Clock:
    """Make a clock."""
    return Clock()


def open_store(folder: Path, clock: Clock, max_bytes: int = 100) -> Store:
    """Open the store in a folder."""
    return Store(
        folder / "store",
        max_bytes=max_bytes,
        max_age_s=60,
        clock=clock,
        time_of_day=clock.time_of_day,
    )


def stored(clock: Clock, name: str, size_bytes: int = 40) -> StoredJob:
    """Make the record of a job."""
    return StoredJob(
        id=name,
        owner="alice",
        filename="m.pt",
        sha256="00",
        artifact_bytes=size_bytes,
        bytes=size_bytes,
        finished_at=clock.time_of_day(),
    )


def keep(store: Store, folder: Path, clock: Clock, name: str, size_bytes: int = 40) -> None:
    """Store a finished job."""
    made = folder / f"made-{name}"
    made.write_bytes(b"x" * size_bytes)
    store.keep({ARTIFACT: made}, stored(clock, name, size_bytes))


def has(store: Store, name: str) -> bool:
    """Return whether a job is in the index and on disk."""
    try:
        _, folder = store.find(name, "alice")
    except NotFoundError:
        return False
    return (folder / ARTIFACT).is_file()


def test_a_kept_job_is_found_by_its_owner_only(tmp_path: Path, clock: Clock) -> None:
    """Another owner cannot even learn that the job exists."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    assert has(store, "one")
    with pytest.raises(NotFoundError):
        store.find("one", "bob")


def test_old_jobs_go(tmp_path: Path, clock: Clock) -> None:
    """An expired job is not found, and the next sweep removes it."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    clock.pass_by(61)
    assert not has(store, "one")
    store.sweep()
    assert len(store) == 0
    assert list((tmp_path / "store").iterdir()) == []


def test_the_oldest_go_where_there_is_too_much(tmp_path: Path, clock: Clock) -> None:
    """Beyond the limit of bytes the oldest jobs are removed."""
    store = open_store(tmp_path, clock)
    for name in ("one", "two", "three"):
        keep(store, tmp_path, clock, name)
        clock.pass_by(1)
    assert [has(store, name) for name in ("one", "two", "three")] == [False, True, True]
    assert store.bytes == 80


def test_a_job_larger_than_the_store_is_refused(tmp_path: Path, clock: Clock) -> None:
    """No job is removed for one that does not fit at all."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    with pytest.raises(StorageFullError):
        keep(store, tmp_path, clock, "huge", size_bytes=101)
    assert has(store, "one")


def test_a_restart_keeps_what_is_whole(tmp_path: Path, clock: Clock) -> None:
    """After a restart stored jobs are found, and folders without a record are removed."""
    keep(open_store(tmp_path, clock), tmp_path, clock, "one")
    (tmp_path / "store" / "half").mkdir()
    (tmp_path / "store" / "half" / ARTIFACT).write_bytes(b"half")
    (tmp_path / "store" / "stray").write_bytes(b"")
    again = open_store(tmp_path, clock)
    assert has(again, "one")
    assert not (tmp_path / "store" / "half").exists()
    clock.pass_by(61)
    assert len(open_store(tmp_path, clock)) == 0


def test_a_job_without_its_artifact_is_not_whole(tmp_path: Path, clock: Clock) -> None:
    """A folder of another version, or one with missing files, is removed."""
    keep(open_store(tmp_path, clock), tmp_path, clock, "one")
    (tmp_path / "store" / "one" / ARTIFACT).rename(tmp_path / "store" / "one" / "m.pt")
    assert len(open_store(tmp_path, clock)) == 0
    assert list((tmp_path / "store").iterdir()) == []


def test_what_cannot_be_taken_over_leaves_nothing(tmp_path: Path, clock: Clock) -> None:
    """If a file is missing, the store is unchanged."""
    store = open_store(tmp_path, clock)
    with pytest.raises(FileNotFoundError):
        store.keep({ARTIFACT: tmp_path / "absent"}, stored(clock, "one"))
    assert not has(store, "one")
    assert list((tmp_path / "store").iterdir()) == []


def test_links_are_no_jobs(tmp_path: Path, clock: Clock) -> None:
    """An identifier that is a path finds nothing."""
    store = open_store(tmp_path, clock)
    for name in ("..", "../store", "", "."):
        assert not has(store, name)


@pytest.mark.parametrize("jump_s", [-1e6, 1e6])
def test_a_jump_of_the_clock_changes_no_age(tmp_path: Path, clock: Clock, jump_s: float) -> None:
    """Setting the time of day back or forward changes no age."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    clock.jumped_s += jump_s
    store.sweep()
    assert has(store, "one")
    clock.pass_by(61)
    assert not has(store, "one")


def test_a_jump_forward_between_two_runs_ends_what_was_kept(tmp_path: Path, clock: Clock) -> None:
    """A job that has expired by the time of day at the start is not found."""
    keep(open_store(tmp_path, clock), tmp_path, clock, "one")
    clock.jumped_s += 1e6
    assert not has(open_store(tmp_path, clock), "one")


def test_a_jump_back_between_two_runs_keeps_nothing_for_ever(tmp_path: Path, clock: Clock) -> None:
    """A job from the future expires in time, however often the service restarts."""
    keep(open_store(tmp_path, clock), tmp_path, clock, "one")
    clock.jumped_s -= 1e6
    for _ in range(3):
        again = open_store(tmp_path, clock)
        assert has(again, "one")
        clock.pass_by(20)
    clock.pass_by(1)
    assert not has(open_store(tmp_path, clock), "one")


def test_what_is_being_read_outlives_the_sweep(tmp_path: Path, clock: Clock) -> None:
    """A download continues even if its job expires meanwhile."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    _, folder = store.find("one", "alice")
    download = FileSlice.whole(folder, ARTIFACT)
    clock.pass_by(61)
    store.sweep()
    assert not folder.exists()
    with download.file as file:
        assert file.read() == b"x" * 40
