"""The folder of a job, its bytes in the quota, and the work folder."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError
from service.storage.quota import Quota
from service.storage.workspace import JobFolder, Workspace
from tests.service.running import wait_for


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """Make the folder of a job."""
    return JobFolder(tmp_path, Quota(1 << 20))


def test_a_file_is_dropped_before_its_bytes_are_freed(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is gone at once, and nobody waits until its bytes are freed."""
    released, closed, close = threading.Event(), list[os.stat_result](), os.close

    def slow_close(descriptor: int) -> None:
        released.wait(10)
        closed.append(os.fstat(descriptor))
        close(descriptor)

    monkeypatch.setattr(os, "close", slow_close)
    path = folder.path / "upload"
    path.write_bytes(b"content")
    folder.drop_upload()
    assert not path.exists()
    assert not closed
    released.set()
    wait_for(lambda: closed)
    assert (closed[0].st_nlink, closed[0].st_size) == (0, 7)


def test_what_is_not_there_is_dropped(folder: JobFolder) -> None:
    """A file that a worker has removed or moved is no error."""
    folder.drop_upload()


def test_a_link_is_dropped_and_not_what_it_names(folder: JobFolder) -> None:
    """If a worker has put a link there, only the link is removed."""
    (folder.path / "other").write_bytes(b"content")
    (folder.path / "upload").symlink_to("other")
    folder.drop_upload()
    assert [path.name for path in folder.path.iterdir()] == ["other"]


def test_a_pipe_is_dropped_though_nobody_writes(folder: JobFolder) -> None:
    """A named pipe is removed without opening it, which would block."""
    os.mkfifo(folder.path / "upload")
    folder.drop_upload()
    assert not list(folder.path.iterdir())


def test_a_file_is_dropped_where_no_thread_can_be_started(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a thread the caller waits, and no descriptor stays open."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    path = folder.path / "upload"
    path.write_bytes(b"content")
    before = len(list(Path("/proc/self/fd").iterdir()))
    folder.drop_upload()
    assert not path.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_is_dropped_where_no_descriptor_is_left(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a descriptor the file is removed all the same."""

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    path = folder.path / "upload"
    path.write_bytes(b"content")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        folder.drop_upload()
    assert not path.exists()


@pytest.mark.parametrize("name", ["jobs", "store", "workers", "probe"])
def test_a_folder_that_others_use_loses_nothing(tmp_path: Path, name: str) -> None:
    """A folder that has someone else's files under our names is refused and unchanged."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis").write_text("years of work")
    with pytest.raises(SettingsError, match="name an empty folder"):
        Workspace(Settings(work_dir=tmp_path))
    assert (tmp_path / name / "thesis").read_text() == "years of work"


def test_what_an_earlier_run_has_left_unfinished_goes(tmp_path: Path) -> None:
    """Unfinished jobs of an earlier run are removed."""
    Workspace(Settings(work_dir=tmp_path)).close()
    (tmp_path / "jobs" / "one").mkdir()
    again = Workspace(Settings(work_dir=tmp_path))
    assert list((tmp_path / "jobs").iterdir()) == []
    again.close()


def test_a_lock_that_is_gone_is_put_back(tmp_path: Path) -> None:
    """A lock that was removed is made again, and the next start gets the folder."""
    workspace = Workspace(Settings(work_dir=tmp_path))
    (tmp_path / "lock").unlink()
    assert workspace.problem() is None
    with pytest.raises(SettingsError, match="in use by another service"):
        Workspace(Settings(work_dir=tmp_path))
    workspace.close()
    Workspace(Settings(work_dir=tmp_path)).close()
