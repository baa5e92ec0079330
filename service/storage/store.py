"""Finished jobs, each a folder, kept for a while: bounded by age and by bytes.

A folder holds what is handed out, under names of the store's own, and its record, which is written
last: what has one is whole, after a restart as well. Nothing else that a worker has left comes in.
Ages are counted by a clock that never jumps; the time of day is asked at a start alone, where
nothing else tells the age of what an earlier run has left.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from convlast.errors import StorageFullError
from convlast.removal import remove_tree
from service.errors import NotFoundError, full_disk_as_problem

ARTIFACT = "artifact"
_RECORD = "job.json"


class StoredJob(BaseModel):
    """What the store knows about a finished job."""

    id: str
    owner: str
    filename: str
    """What the artifact is called by those who fetch it."""
    sha256: str
    """The digest of the artifact, in hexadecimal."""
    artifact_bytes: int
    """The size of the artifact."""
    bytes: int
    """The size of all its files."""
    finished_at: float
    """Seconds since 1970, by the clock of then."""


class Store:
    """The folder of finished jobs. Its methods touch the disk: call them in a thread."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        """Open the store; what is expired or not whole is removed.

        Args:
            folder: Where it lies; on the file system where jobs run.
            max_bytes: Bytes that it may hold; the oldest jobs go first.
            max_age_s: Seconds after which a job goes.
            clock: Seconds since some moment, which never jump.
            time_of_day: Seconds since 1970, as far as this machine knows.
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
        """The bytes that are kept."""
        return sum(job.bytes for job in list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def keep(self, files: Mapping[str, Path], job: StoredJob) -> None:
        """Take over the files of a finished job.

        Args:
            files: Where each is, by the name that it has in the store.
            job: What is known about it.

        Raises:
            StorageFullError: If it alone is larger than the store.
        """
        if job.bytes > self._max_bytes:
            raise StorageFullError(
                f"The result has {job.bytes:,} bytes, and the store keeps {self._max_bytes:,}.",
                remedy="Raise CONVLAST_STORE_BYTES, or ask for application/zip: it keeps nothing.",
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
        """Give a job and its folder.

        Raises:
            NotFoundError: If there is none, it is gone, or it is another owner's.
        """
        job = self._jobs.get(job_id)
        if job is None or job.owner != owner or self._is_expired(job):
            raise NotFoundError("There is no such job, or it is gone.")
        return job, self.folder / job.id

    def sweep(self) -> None:
        """Remove what is too old, and the oldest of what is too much."""
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
        """Take up what an earlier run has left."""
        try:
            job = StoredJob.model_validate_json((path / _RECORD).read_bytes())
        except (OSError, ValidationError):
            job = None
        if job is None or job.id != path.name or not (path / ARTIFACT).is_file():
            remove_tree(path)
            return
        if job.finished_at > today_s:
            # The clock was set back. Its age is unknown, and counts from now: in the record as
            # well, or one start after the other would keep it for ever.
            job = job.model_copy(update={"finished_at": today_s})
            with contextlib.suppress(OSError):
                (path / _RECORD).write_text(job.model_dump_json())
        self._jobs[job.id] = job
        self._kept_at[job.id] = self._clock() - (today_s - job.finished_at)

    def _remove(self, job_id: str) -> None:
        # First out of the index: nobody may find a folder that is being taken away.
        self._jobs.pop(job_id, None)
        self._kept_at.pop(job_id, None)
        remove_tree(self.folder / job_id)
