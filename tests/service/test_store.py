from __future__ import annotations

from pathlib import Path

import pytest

from convlast.errors import StorageFullError
from service.errors import NotFoundError
from service.store import Store, StoredJob


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """Make a clock."""
    return Clock()


def open_store(folder: Path, clock: Clock, max_bytes: int = 100) -> Store:
    """Open the store in a folder."""
    return Store(folder / "store", max_bytes=max_bytes, max_age_s=60, now=clock)


def keep(store: Store, folder: Path, clock: Clock, name: str, size_bytes: int = 40) -> None:
    """Have a finished job kept."""
    made = folder / f"made-{name}"
    made.mkdir()
    (made / "m.pt").write_bytes(b"x" * size_bytes)
    job = StoredJob(
        id=name,
        owner="alice",
        filename="m.pt",
        sha256="00",
        artifact_bytes=size_bytes,
        bytes=size_bytes,
        finished_at=clock.now_s,
    )
    store.keep(made, job)


def has(store: Store, name: str) -> bool:
    """Say whether a job is there, in the index and on disk alike."""
    try:
        _, folder = store.find(name, "alice")
    except NotFoundError:
        return False
    return (folder / "m.pt").is_file()


def test_a_kept_job_is_found_by_its_owner_only(tmp_path: Path, clock: Clock) -> None:
    """Another owner learns nothing, not even that the job exists."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    assert has(store, "one")
    with pytest.raises(NotFoundError):
        store.find("one", "bob")


def test_old_jobs_go(tmp_path: Path, clock: Clock) -> None:
    """A job beyond its age is not found, and the next sweep removes it."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    clock.now_s += 61
    assert not has(store, "one")
    store.sweep()
    assert len(store) == 0
    assert list((tmp_path / "store").iterdir()) == []


def test_the_oldest_go_where_there_is_too_much(tmp_path: Path, clock: Clock) -> None:
    """Bytes are bounded: the newest jobs stay."""
    store = open_store(tmp_path, clock)
    for name in ("one", "two", "three"):
        keep(store, tmp_path, clock, name)
        clock.now_s += 1
    assert [has(store, name) for name in ("one", "two", "three")] == [False, True, True]
    assert store.bytes == 80


def test_a_job_larger_than_the_store_is_refused(tmp_path: Path, clock: Clock) -> None:
    """Nothing is thrown out for what cannot be kept anyway."""
    store = open_store(tmp_path, clock)
    keep(store, tmp_path, clock, "one")
    with pytest.raises(StorageFullError):
        keep(store, tmp_path, clock, "huge", size_bytes=101)
    assert has(store, "one")


def test_a_restart_keeps_what_is_whole(tmp_path: Path, clock: Clock) -> None:
    """What was kept is found again; what has no record is removed."""
    keep(open_store(tmp_path, clock), tmp_path, clock, "one")
    (tmp_path / "store" / "half").mkdir()
    (tmp_path / "store" / "half" / "m.pt").write_bytes(b"half")
    (tmp_path / "store" / "stray").write_bytes(b"")
    again = open_store(tmp_path, clock)
    assert has(again, "one")
    assert not (tmp_path / "store" / "half").exists()
    clock.now_s += 61
    assert len(open_store(tmp_path, clock)) == 0


def test_links_are_no_jobs(tmp_path: Path, clock: Clock) -> None:
    """An identifier that is a path leads nowhere."""
    store = open_store(tmp_path, clock)
    for name in ("..", "../store", "", "."):
        assert not has(store, name)
