"""Finished jobs, each a folder, kept for a while: bounded by age and by bytes.

A folder holds the files that clients can download, under the store's own names, and a record. The
record is written last, so a folder that has one is complete, after a restart too. No other file of
a worker is kept. Ages are by a monotonic clock; the time of day is needed only at the start, for
the age of jobs that an earlier run has left.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from convlast.byte_size import exact
from convlast.errors import StorageFullError
from convlast.removal import remove_tree
from service.errors import NotFoundError, full_disk_as_problem

ARTIFACT = "artifact"
_RECORD = "job.json"


class StoredJob(BaseModel):
    """The record of a finished job."""

    id: str
    owner: str
    filename: str
    """The name of the artifact for the client."""
    sha256: str
    """The digest of the artifact, in hexadecimal."""
    artifact_bytes: int
    """The size of the artifact."""
    bytes: int
    """The size of all its files."""
    finished_at: float
    """Seconds since 1970."""


class Store:
    """The folder of finished jobs. Its methods use the disk: call them in a thread."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        """Open the store, and remove expired and incomplete jobs.

        Args:
            folder: The folder of the store, on the file system where jobs run.
            max_bytes: Bytes that the store may hold; the oldest jobs are removed first.
            max_age_s: Seconds after which a job is removed.
            clock: Returns seconds by a monotonic clock.
            time_of_day: Returns seconds since 1970.
        """
        self.folder = folder
        self._max_bytes, self._max_age_s, self._clock = max_bytes, max_age_s, clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._jobs: dict[str, StoredJob] = {}
        self._kept_at: dict[str, float] = {}
        self._changes = threading.RLock()
        for path in folder.iterdir():
            self._adopt(path, time_of_day())
        self.sweep()

    @property
    def bytes(self) -> int:
        """The size of all stored files."""
        return sum(job.bytes for job in list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def keep(self, files: Mapping[str, Path], job: StoredJob) -> None:
        """Move the files of a finished job into the store.

        Args:
            files: The path of each file, by its name in the store.
            job: The record of the job.

        Raises:
            StorageFullError: If the job alone is larger than the store, or the disk is full.
        """
        if job.bytes > self._max_bytes:
            raise StorageFullError(
                f"The result has {exact(job.bytes)}; the store holds {exact(self._max_bytes)}.",
                remedy="Raise CONVLAST_STORE_BYTES, or ask for application/zip: it stores nothing.",
            )
        job_folder = self.folder / job.id
        try:
            with full_disk_as_problem():
                job_folder.mkdir(mode=0o700)
                for name, path in files.items():
                    path.rename(job_folder / name)
                (job_folder / _RECORD).write_text(job.model_dump_json())
        except BaseException:
            remove_tree(job_folder)
            raise
        with self._changes:
            self._jobs[job.id], self._kept_at[job.id] = job, self._clock()
            self.sweep()

    def find(self, job_id: str, owner: str) -> tuple[StoredJob, Path]:
        """Return a job and its folder.

        Raises:
            NotFoundError: If there is no such job, it is expired, or it is another owner's.
        """
        job = self._jobs.get(job_id)
        if job is None or job.owner != owner or self._is_expired(job):
            raise NotFoundError("There is no such job, or it is gone.")
        return job, self.folder / job.id

    def sweep(self) -> None:
        """Remove expired jobs, and the oldest jobs beyond the bytes that the store may hold."""
        with self._changes:
            jobs = sorted(self._jobs.values(), key=lambda job: self._kept_at[job.id], reverse=True)
            kept_bytes = 0
            for job in jobs:
                if self._is_expired(job) or kept_bytes + job.bytes > self._max_bytes:
                    self._remove(job.id)
                else:
                    kept_bytes += job.bytes

    def _is_expired(self, job: StoredJob) -> bool:
        kept_at = self._kept_at.get(job.id)
        return kept_at is None or self._clock() - kept_at > self._max_age_s

    def _adopt(self, path: Path, today_s: float) -> None:
        """Add a job that an earlier run has left, or remove its folder if it is incomplete."""
        try:
            job = StoredJob.model_validate_json((path / _RECORD).read_bytes())
        except (OSError, ValidationError):
            job = None
        if job is None or job.id != path.name or not (path / ARTIFACT).is_file():
            remove_tree(path)
            return
        if job.finished_at > today_s:
            # The clock was set back. The job's age is unknown and counts from now; the record is
            # changed too, or restart after restart would keep the job for ever.
            job = job.model_copy(update={"finished_at": today_s})
            with contextlib.suppress(OSError):
                (path / _RECORD).write_text(job.model_dump_json())
        self._jobs[job.id] = job
        self._kept_at[job.id] = self._clock() - (today_s - job.finished_at)

    def _remove(self, job_id: str) -> None:
        # Out of the index first, so that nobody finds a folder that is being removed.
        self._jobs.pop(job_id, None)
        self._kept_at.pop(job_id, None)
        remove_tree(self.folder / job_id)
