from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.settings import SettingsError
from service.storage.folder_lock import FolderLock

NAMES = ("jobs", "store")


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second service is refused, and gets the folder when the first one has ended."""
    first = FolderLock(tmp_path / "work", NAMES)
    with pytest.raises(SettingsError, match="in use by another service"):
        FolderLock(tmp_path / "work", NAMES)
    first.release()
    FolderLock(tmp_path / "work", NAMES).release()


def test_what_an_earlier_run_has_left_is_ours(tmp_path: Path) -> None:
    """A lock that nobody holds shows that a service made the folders beside it."""
    FolderLock(tmp_path, NAMES).release()
    (tmp_path / "jobs").mkdir()
    FolderLock(tmp_path, NAMES).release()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_use_by_others_is_refused(tmp_path: Path, name: str) -> None:
    """A folder with someone else's file under one of our names is refused and unchanged."""
    (tmp_path / name).mkdir()
    with pytest.raises(SettingsError, match=f"has a '{name}' that no service has made"):
        FolderLock(tmp_path, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_lock_of_others_is_not_emptied(tmp_path: Path) -> None:
    """A file named `lock` that is not empty is refused, since ours is empty."""
    (tmp_path / "lock").write_text("4711")
    with pytest.raises(SettingsError, match="has a 'lock'"):
        FolderLock(tmp_path, NAMES)
    assert (tmp_path / "lock").read_text() == "4711"


def test_other_files_do_not_matter(tmp_path: Path) -> None:
    """Files with other names, such as the `lost+found` of a volume, do not matter."""
    (tmp_path / "lost+found").mkdir()
    FolderLock(tmp_path, NAMES).release()


def test_a_lock_is_as_young_as_its_service(tmp_path: Path) -> None:
    """Cleaners that remove files by age do not remove the lock before the rest."""
    path = tmp_path / "lock"
    path.touch()
    os.utime(path, (0, 0))
    lock = FolderLock(tmp_path, NAMES)
    assert path.stat().st_mtime > 0
    os.utime(path, (0, 0))
    lock.release()
    assert path.stat().st_mtime > 0


def test_it_is_known_whether_the_lock_is_in_place(tmp_path: Path) -> None:
    """A lock file that was removed or replaced is noticed."""
    lock = FolderLock(tmp_path, NAMES)
    assert lock.is_in_place()
    (tmp_path / "lock").unlink()
    assert not lock.is_in_place()
    (tmp_path / "lock").touch()
    assert not lock.is_in_place()
    lock.release()
