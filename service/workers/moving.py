"""The files of a job: its folder is moved to the worker and back, its checkpoint is only lent."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import structlog

from service.errors import InternalError
from service.problems import WORKER_CODES, Problem
from service.workers import Job, JobFiles
from service.workers.folders import WorkerFolders
from service.workers.messages import LocalJob, Refused
from service.workers.results import read_report

_UPLOAD = "upload"
"""What a worker's checkpoint is called, whatever its name is on the service's side."""
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
"""What file systems say that know no hard links, or no more to this file."""

_log = structlog.get_logger()


def move_in(job: Job, files: JobFiles, folders: WorkerFolders) -> LocalJob:
    """Give a job's files to a worker, and return the job with its new paths."""
    # First the checkpoint: if it is gone, or the disk is full, nothing has been moved.
    source = _lend(files.source, folders.input / _UPLOAD)
    moved = folders.work / job.id
    files.folder.rename(moved)
    return LocalJob.of(job, JobFiles(source, moved))


def _lend(source: Path, lent: Path) -> Path:
    """Make a hard link of a checkpoint, or a copy where the file system has no hard links."""
    try:
        os.link(source, lent)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, lent)
    # Both names are of one inode, so this mode protects the original too where Landlock does not:
    # before Linux 6.2 it allows truncation. It is set for each job, so this one can read the file,
    # whatever an earlier one has done to its mode. A few file systems refuse any change of mode.
    with contextlib.suppress(OSError):
        lent.chmod(0o400)
    return lent


def move_back(job: Job, files: JobFiles, folders: WorkerFolders) -> None:
    """Move a job's folder back; the worker must have ended, so that it can write no more."""
    moved = folders.work / job.id
    if moved.is_dir() and not moved.is_symlink():
        moved.rename(files.folder)


def problem_of(refused: Refused, job: Job, files: JobFiles) -> Problem:
    """Turn a refusal into a problem; a code that this verb does not have is an internal error."""
    if refused.code not in WORKER_CODES[job.verb]:
        _log.error("job refused with a bad code", code=refused.code)
        return Problem.of(InternalError("The job failed."))
    report = read_report(files.folder) if refused.has_report else None
    return Problem(refused.code, refused.detail, refused.members, report)
