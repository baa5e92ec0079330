"""The files of a job, moved into the folder of its worker and back."""

from __future__ import annotations

from pathlib import Path

import structlog

from convlast.removal import remove_tree
from service.errors import InternalError
from service.problems import WORKER_CODES, Problem
from service.threads import REMOVING
from service.workers import Job, JobFiles
from service.workers.messages import LocalJob, Refused
from service.workers.results import read_report

_log = structlog.get_logger()


def move_in(job: Job, files: JobFiles, folder: Path) -> LocalJob:
    """Move a job's folder into the worker's, and return the job with its new paths."""
    moved = folder / job.id
    files.folder.rename(moved)
    return LocalJob.of(job, JobFiles(moved / files.source.relative_to(files.folder), moved))


def move_back(job: Job, files: JobFiles, folder: Path) -> None:
    """Move a job's folder back; the worker must have ended, so that it can write no more."""
    moved = folder / job.id
    if moved.is_dir() and not moved.is_symlink():
        moved.rename(files.folder)


async def clear(folder: Path) -> None:
    """Remove the folder of a worker that has ended."""
    await REMOVING.run(remove_tree, folder)


def problem_of(refused: Refused, job: Job, files: JobFiles) -> Problem:
    """Turn a refusal into a problem; a code that this verb does not have is an internal error."""
    if refused.code not in WORKER_CODES[job.verb]:
        _log.error("job refused with a bad code", code=refused.code)
        return Problem.of(InternalError("The job failed."))
    report = read_report(files.folder) if refused.has_report else None
    return Problem(refused.code, refused.detail, refused.members, report)
