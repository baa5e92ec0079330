"""The folders of a worker, made and removed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from service.workers.folders import WorkerFolders


def test_neither_folder_lies_in_the_other(tmp_path: Path) -> None:
    """The right to write to one of them is no right on the other."""
    folders = WorkerFolders.make(tmp_path / "workers")
    assert folders.exist()
    assert not folders.input.is_relative_to(folders.work)
    assert not folders.work.is_relative_to(folders.input)
    for folder in (folders.root, folders.work, folders.input):
        assert folder.stat().st_mode & 0o777 == 0o700
    folders.remove()
    assert not list((tmp_path / "workers").iterdir())


@pytest.mark.parametrize("name", ["work", "input"])
def test_a_worker_without_one_of_them_cannot_work(tmp_path: Path, name: str) -> None:
    """A cleaner of temporary files may have removed either."""
    folders = WorkerFolders.make(tmp_path)
    (folders.root / name).rmdir()
    assert not folders.exist()


@pytest.mark.parametrize("made", [1, 2])
def test_folders_that_cannot_be_made_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: int
) -> None:
    """If the disk becomes full after the first or the second one, none stays."""
    mkdir, count = Path.mkdir, 0

    def fill(path: Path, mode: int = 0o777, parents: bool = False) -> None:
        nonlocal count
        count += 1
        if count > made:
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(path, mode, parents)

    monkeypatch.setattr(Path, "mkdir", fill)
    with pytest.raises(OSError, match="No space"):
        WorkerFolders.make(tmp_path)
    assert not list(tmp_path.iterdir())
