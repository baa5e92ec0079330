"""The one folder for everything on disk: running jobs, the store, and a lock.

All of it lies on one file system, so that an upload, its artifact and the store can share bytes
and a finished job is moved by renaming.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import TextIO

from service.settings import Settings, SettingsError
from service.store import Store

MIN_FREE_BYTES = 64 << 20


class Workspace:
    """The work folder, for as long as this service runs."""

    def __init__(self, settings: Settings) -> None:
        """Take the folder, and remove what an earlier run has left unfinished.

        Raises:
            SettingsError: If it cannot be written, is another user's, or another service has it.
        """
        self.folder = settings.work_dir
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.folder.stat().st_uid != os.geteuid():
                raise SettingsError(f"CONVLAST_WORK_DIR={self.folder} belongs to another user.")
            self._lock = self._take_lock()
            self._jobs = self.folder / "jobs"
            shutil.rmtree(self._jobs, ignore_errors=True)
            self._jobs.mkdir(mode=0o700)
            self.store = Store(
                self.folder / "store",
                max_bytes=settings.store_bytes,
                max_age_s=settings.store_age_s,
            )
        except OSError as error:
            raise SettingsError(f"CONVLAST_WORK_DIR cannot be used: {error}.") from None

    def _take_lock(self) -> TextIO:
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise SettingsError(
                f"CONVLAST_WORK_DIR={self.folder} is in use by another service: name another."
            ) from None
        return lock

    def close(self) -> None:
        """Give the folder back."""
        self._lock.close()

    def new_job(self, job_id: str) -> Path:
        """Make the folder of a job."""
        folder = self._jobs / job_id
        folder.mkdir(mode=0o700)
        return folder

    def problem(self) -> str | None:
        """Say why nothing can be written, if so."""
        probe = self.folder / "probe"
        try:
            probe.write_bytes(b"writable")
            probe.unlink()
            free_bytes = shutil.disk_usage(self.folder).free
        except OSError as error:
            return f"The work folder cannot be written: {error.strerror}."
        if free_bytes < MIN_FREE_BYTES:
            return f"The work folder has {free_bytes:,} bytes left."
        return None


def remove(folder: Path) -> None:
    """Remove the folder of a job, if it is still there."""
    shutil.rmtree(folder, ignore_errors=True)
