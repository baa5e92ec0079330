from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.settings import SettingsError
from service.storage.folder_lock import FolderLock

NAMES = ("jobs", "store")


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second service is told so, and has the folder when the first has gone."""
    first = FolderLock(tmp_path / "work", NAMES)
    with pytest.raises(SettingsError, match="in use by another service"):
        FolderLock(tmp_path / "work", NAMES)
    first.release()
    FolderLock(tmp_path / "work", NAMES).release()


def test_what_an_earlier_run_has_left_is_ours(tmp_path: Path) -> None:
    """Its lock says so, though nobody holds it."""
    FolderLock(tmp_path, NAMES).release()
    (tmp_path / "jobs").mkdir()
    FolderLock(tmp_path, NAMES).release()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_use_by_others_is_refused(tmp_path: Path, name: str) -> None:
    """Something there has the name of what would be removed: it stays, and no lock beside it."""
    (tmp_path / name).mkdir()
    with pytest.raises(SettingsError, match=f"has a '{name}' that no service has made"):
        FolderLock(tmp_path, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_lock_of_others_is_not_emptied(tmp_path: Path) -> None:
    """It says something, as ours never does."""
    (tmp_path / "lock").write_text("4711")
    with pytest.raises(SettingsError, match="has a 'lock'"):
        FolderLock(tmp_path, NAMES)
    assert (tmp_path / "lock").read_text() == "4711"


def test_other_files_do_not_matter(tmp_path: Path) -> None:
    """A volume has its lost+found."""
    (tmp_path / "lost+found").mkdir()
    FolderLock(tmp_path, NAMES).release()


def test_a_lock_is_as_young_as_its_service(tmp_path: Path) -> None:
    """Those who clean up temporary files by their age do not take it and leave the rest."""
    path = tmp_path / "lock"
    path.touch()
    os.utime(path, (0, 0))
    lock = FolderLock(tmp_path, NAMES)
    assert path.stat().st_mtime > 0
    os.utime(path, (0, 0))
    lock.release()
    assert path.stat().st_mtime > 0


def test_it_is_known_whether_the_lock_is_in_place(tmp_path: Path) -> None:
    """One that was removed, or is another's by now, holds nobody off."""
    lock = FolderLock(tmp_path, NAMES)
    assert lock.is_in_place()
    (tmp_path / "lock").unlink()
    assert not lock.is_in_place()
    (tmp_path / "lock").touch()
    assert not lock.is_in_place()
    lock.release()
