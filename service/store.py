"""Finished jobs, each a folder, kept for a while: bounded by age and by bytes.

A folder is complete before it is renamed into the store, so half a file is never handed out, and
what lies there after a restart is whole.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from convlast.errors import StorageFullError
from service.errors import NotFoundError, full_disk_as_problem

_RECORD = "job.json"


class StoredJob(BaseModel):
    """What the store knows about a finished job."""

    id: str
    owner: str
    filename: str
    """The name of the artifact."""
    sha256: str
    """The digest of the artifact, in hexadecimal."""
    artifact_bytes: int
    """The size of the artifact."""
    bytes: int
    """The size of all its files."""
    finished_at: float
    """Seconds since 1970."""


class Store:
    """The folder of finished jobs. Its methods touch the disk: call them in a thread."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Open the store; what is expired or not whole is removed.

        Args:
            folder: Where it lies; on the file system where jobs run.
            max_bytes: Bytes that it may hold; the oldest jobs go first.
            max_age_s: Seconds after which a job goes.
            now: The clock.
        """
        self._folder, self._max_bytes, self._max_age_s, self._now = (
            folder,
            max_bytes,
            max_age_s,
            now,
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._jobs: dict[str, StoredJob] = {}
        self._changes = threading.RLock()
        for path in folder.iterdir():
            self._adopt(path)
        self.sweep()

    @property
    def bytes(self) -> int:
        """The bytes that are kept."""
        return sum(job.bytes for job in list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def keep(self, folder: Path, job: StoredJob) -> None:
        """Take over the folder of a finished job.

        Raises:
            StorageFullError: If it alone is larger than the store.
        """
        if job.bytes > self._max_bytes:
            raise StorageFullError(
                f"The result has {job.bytes:,} bytes, and the store keeps {self._max_bytes:,}.",
                remedy="Raise CONVLAST_STORE_BYTES, or ask for application/zip: it keeps nothing.",
            )
        with full_disk_as_problem():
            (folder / _RECORD).write_text(job.model_dump_json())
        with self._changes:
            folder.rename(self._folder / job.id)
            self._jobs[job.id] = job
            self.sweep()

    def find(self, job_id: str, owner: str) -> tuple[StoredJob, Path]:
        """Give a job and its folder.

        Raises:
            NotFoundError: If there is none, it is gone, or it is another owner's.
        """
        job = self._jobs.get(job_id)
        if job is None or job.owner != owner or self._is_expired(job):
            raise NotFoundError("There is no such job, or it is gone.")
        return job, self._folder / job.id

    def sweep(self) -> None:
        """Remove what is too old, and the oldest of what is too much."""
        with self._changes:
            jobs = sorted(self._jobs.values(), key=lambda job: job.finished_at, reverse=True)
            kept_bytes = 0
            for job in jobs:
                if self._is_expired(job) or kept_bytes + job.bytes > self._max_bytes:
                    self._remove(job.id)
                else:
                    kept_bytes += job.bytes

    def _is_expired(self, job: StoredJob) -> bool:
        return self._now() - job.finished_at > self._max_age_s

    def _adopt(self, path: Path) -> None:
        """Take up what an earlier run has left."""
        try:
            job = StoredJob.model_validate_json((path / _RECORD).read_bytes())
        except (OSError, ValidationError):
            job = None
        if job is None or job.id != path.name:
            shutil.rmtree(path, ignore_errors=True)
        else:
            self._jobs[job.id] = job

    def _remove(self, job_id: str) -> None:
        # First out of the index: nobody may find a folder that is being taken away.
        self._jobs.pop(job_id, None)
        shutil.rmtree(self._folder / job_id, ignore_errors=True)
