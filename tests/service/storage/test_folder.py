"""Small records: written once and whole, read, and removed all at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.storage.folder import Folder, flush


@pytest.fixture
def records(tmp_path: Path) -> Folder:
    """Make a folder of records."""
    return Folder(tmp_path / "records")


def test_a_record_is_written_once(records: Folder) -> None:
    """The second writer hears that it is not the first, and changes nothing."""
    assert records.create("job/end.json", "first")
    assert not records.create("job/end.json", "second")
    assert records.read("job/end.json") == b"first"
    assert [path.name for path in (records.folder / "job").iterdir()] == ["end.json"]


@pytest.mark.parametrize("key", ["absent", "job/absent", "job/end.json/below"])
def test_a_record_that_does_not_exist_is_none(records: Folder, key: str) -> None:
    """Neither a missing folder nor a file in a folder's place is an error."""
    records.create("job/end.json", "text")
    assert records.read(key) is None


def test_all_below_a_key_goes_at_once(records: Folder) -> None:
    """Other keys stay, and a key that is gone can be written anew."""
    for key in ("one/a", "one/b", "two/a"):
        records.create(key, key)
    (records.folder / "one" / "files").mkdir()
    (records.folder / "one" / "files" / "artifact").write_bytes(b"x")
    records.remove("one")
    records.remove("one")
    assert [path.name for path in records.folder.iterdir()] == ["two"]
    assert records.create("one/a", "again")


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_record_that_cannot_be_written_leaves_nothing(
    records: Folder, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A full disk raises, and neither the record nor a part of it is there."""
    records.create("job/other", "text")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            records.create("job/end.json", "text")
    assert [path.name for path in (records.folder / "job").iterdir()] == ["other"]
    assert records.create("job/end.json", "text")


def test_a_removal_does_not_need_a_disk_that_can_be_flushed(
    records: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to go goes, which may be what makes room."""
    records.create("job/end.json", "text")

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    records.remove("job")
    assert list(records.folder.iterdir()) == []


def test_no_link_is_flushed(tmp_path: Path) -> None:
    """A worker may have put a link in a file's place."""
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="symbolic links"):
        flush(tmp_path / "link")
