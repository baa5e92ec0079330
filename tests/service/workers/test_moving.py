"""The checkpoint of a job, lent to its worker, and the folder that is moved there and back."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from service.errors import WorkerCrashedError
from service.workers import Finished, Job, JobFiles
from service.workers.folders import WorkerFolders
from service.workers.local import LocalWorkers
from service.workers.messages import LocalJob
from service.workers.moving import move_back, move_in
from tests.service.listening import Heard
from tests.service.sandbox.sandboxed import needs_landlock, needs_seccomp
from tests.service.workers.lanes.test_lane import with_lanes
from tests.service.workers.test_local import until

JOB = Job(id="one", verb="convert", filename="m.pt")


@pytest.fixture
def folders(tmp_path: Path) -> WorkerFolders:
    """Make the folders of a worker."""
    return WorkerFolders.make(tmp_path / "workers")


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    """Make the files of a job."""
    return files_in(tmp_path)


def files_in(parent: Path, content: bytes = b"content") -> JobFiles:
    """Make the files of a job, with a checkpoint of this content."""
    folder, source = parent / "job", parent / "checkpoint"
    folder.mkdir(parents=True)
    source.write_bytes(content)
    return JobFiles(source, folder)


def run(workers: LocalWorkers, files: JobFiles, name: str = "one") -> asyncio.Future[Finished]:
    """Begin a job."""
    job = Job(id=name, verb="convert", filename="m.pt")
    return asyncio.ensure_future(workers.run(job, files, Heard(), share="a client"))


def test_only_the_folder_is_moved(files: JobFiles, folders: WorkerFolders) -> None:
    """The checkpoint stays, with a second name in the read-only folder of the worker."""
    moved = move_in(JOB, files, folders)
    assert not files.folder.exists()
    assert moved.folder.parent == folders.work
    assert moved.source.parent == folders.input
    assert moved.source.samefile(files.source)
    (moved.folder / "made").touch()
    move_back(JOB, files, folders)
    folders.remove()
    assert (files.folder / "made").exists()
    assert files.source.stat().st_nlink == 1
    assert files.source.read_bytes() == b"content"


def test_the_mode_is_set_for_each_job(files: JobFiles, folders: WorkerFolders) -> None:
    """Whatever an earlier job has done to the mode, the next can read the file and not write it."""
    files.source.chmod(0)
    assert move_in(JOB, files, folders).source.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize(
    "code", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS]
)
def test_without_hard_links_the_checkpoint_is_copied(
    files: JobFiles, folders: WorkerFolders, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A file system without hard links, or with too many to this file, costs a copy."""
    moved = moved_where_links_fail(files, folders, monkeypatch, code)
    assert not moved.source.samefile(files.source)
    assert moved.source.read_bytes() == files.source.read_bytes() == b"content"
    assert moved.source.stat().st_mode & 0o777 == 0o400


def test_any_other_error_moves_nothing(
    files: JobFiles, folders: WorkerFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk fails, the files are where they were, and no copy is tried."""
    with pytest.raises(OSError, match="Errno 5"):
        moved_where_links_fail(files, folders, monkeypatch, errno.EIO)
    assert files.folder.is_dir()
    assert not list(folders.input.iterdir())


def moved_where_links_fail(
    files: JobFiles, folders: WorkerFolders, monkeypatch: pytest.MonkeyPatch, code: int
) -> LocalJob:
    """Move files in on a file system that refuses hard links with this error."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    return move_in(JOB, files, folders)


def test_a_checkpoint_in_the_folder_works_too(tmp_path: Path, folders: WorkerFolders) -> None:
    """The job reads the link, although the original is moved with the folder."""
    (tmp_path / "job").mkdir()
    files = JobFiles(tmp_path / "job" / "checkpoint", tmp_path / "job")
    files.source.write_bytes(b"content")
    moved = move_in(JOB, files, folders)
    assert moved.source.parent == folders.input
    assert moved.source.read_bytes() == b"content"
    move_back(JOB, files, folders)
    assert files.source.read_bytes() == b"content"


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("content", [b"spoils", b"kills-itself"])
def test_the_checkpoint_of_a_worker_that_was_killed_is_as_it_was(
    tmp_path: Path, content: bytes
) -> None:
    """It is there and unchanged, even if the worker has tried to spoil it."""
    files = files_in(tmp_path, content)
    inode = files.source.stat().st_ino

    async def use(workers: LocalWorkers) -> None:
        for _ in range(2):  # the second job finds it as the first one did
            with pytest.raises(WorkerCrashedError, match="SIGKILL"):
                await run(workers, files)

    with_lanes(use, tmp_path)
    assert files.source.read_bytes() == content
    status = files.source.stat()
    assert (status.st_ino, status.st_nlink, status.st_mode & 0o777) == (inode, 1, 0o400)
    assert files.folder.is_dir()


def test_two_jobs_read_one_checkpoint_at_once(tmp_path: Path) -> None:
    """Each worker has a link of its own, and the end of one is nothing to the other."""
    first = files_in(tmp_path / "first", b"sleeps 1")
    second = JobFiles(first.source, files_in(tmp_path / "second").folder)

    async def use(workers: LocalWorkers) -> None:
        both = run(workers, first, "one"), run(workers, second, "two")
        await until(lambda: first.source.stat().st_nlink == 3)
        for finished in await asyncio.gather(*both):
            assert finished.verdict == "passed"

    with_lanes(use, tmp_path, cpu_lanes=2)
    assert first.source.stat().st_nlink == 1
    for files in (first, second):
        assert (files.folder / "m.channels_last_3d.pt").read_bytes() == b"sleeps 1"
