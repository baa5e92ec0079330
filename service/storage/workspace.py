"""The one folder for everything on disk: running jobs, the store, and a lock.

All of it lies on one file system, so that an upload, its artifact and the store can share bytes
and a finished job is moved by renaming.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import structlog

from convlast.errors import StorageFullError
from convlast.removal import remove_tree
from service.errors import NotReadyError
from service.settings import Settings, SettingsError
from service.storage.folder_lock import FolderLock
from service.storage.quota import Quota
from service.storage.store import Store

MIN_FREE_BYTES = 64 << 20
# What multiprocessing makes for the socket of its fork server, where TMPDIR is this folder.
_TEMPORARY = "pymp-*"
_log = structlog.get_logger()


class JobFolder:
    """The folder of one job, and the room that it takes on disk."""

    def __init__(self, path: Path, quota: Quota) -> None:
        self.path = path
        self._quota = quota
        self._upload_bytes = 0
        self._unpacked_bytes = 0

    def take(self, upload_bytes: int) -> None:
        """Take room for so many more bytes of the checkpoint.

        Raises:
            StorageFullError: If there is none.
        """
        self._quota.take(upload_bytes)
        self._upload_bytes += upload_bytes

    def take_unpacked(self, unpacked_bytes: int) -> None:
        """Take room for what is in an archive, where this is more of it than was told before.

        Raises:
            StorageFullError: If there is none.
        """
        if (more := unpacked_bytes - self._unpacked_bytes) > 0:
            self.take(more)
            self._unpacked_bytes = unpacked_bytes

    def drop(self, path: Path) -> None:
        """Remove a file, if it is there; its bytes are freed while the caller goes on.

        That takes a while, some 0.15 s a gigabyte, and whoever waits for an answer need not; but
        where there is no descriptor or thread to be had, they do.
        """
        try:
            held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            path.unlink(missing_ok=True)
            return
        try:
            path.unlink(missing_ok=True)
        finally:
            _close_aside(held)

    def leave(self) -> None:
        """Give the room back; the files are someone else's now."""
        upload_bytes, self._upload_bytes = self._upload_bytes, 0
        self._quota.give_back(upload_bytes)

    def remove(self) -> None:
        """Remove what is still there; the room is given back however that ends."""
        try:
            if not remove_tree(self.path):
                _log.warning("a job has left what cannot be removed; the next start tries again")
        finally:
            self.leave()


def _close_aside(descriptor: int) -> None:
    """Close a descriptor in a thread, if one can be started."""
    try:
        threading.Thread(target=os.close, args=(descriptor,)).start()
    except RuntimeError:
        os.close(descriptor)


def _clear_away(left: Path) -> None:
    """Remove what an earlier run has left, or move it aside: it must not stop this one."""
    if remove_tree(left):
        return
    aside = left.parent / _ASIDE
    with suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
        if left != aside:
            left.rename(aside / secrets.token_hex(8))
    _log.warning("what an earlier run has left cannot be removed, and lies aside", name=left.name)


_JOBS, _STORE, _PROBE = "jobs", "store", "probe"
WORKERS = "workers"
"""The folder below which each worker has one of its own; its job's files move there and back."""
_ASIDE = "aside"
"""Where that lies which an earlier run has left, and which cannot be removed."""
_NAMES = (_JOBS, _STORE, _PROBE, WORKERS, _ASIDE)


class Workspace:
    """The work folder, for as long as this service runs."""

    def __init__(self, settings: Settings) -> None:
        """Take the folder, and remove what an earlier run has left unfinished.

        Raises:
            SettingsError: If it cannot be written, another user, program or service has it.
        """
        self.folder = settings.work_dir
        self._jobs = self.folder / _JOBS
        self._mending = threading.Lock()
        self.quota = Quota(settings.work_bytes)
        try:
            self._lock = FolderLock(self.folder, _NAMES)
            names = (_ASIDE, _JOBS, WORKERS)
            for left in (*map(self.folder.joinpath, names), *self.folder.glob(_TEMPORARY)):
                _clear_away(left)
            self._jobs.mkdir(mode=0o700, exist_ok=True)
            self.store = Store(
                self.folder / _STORE,
                max_bytes=settings.store_bytes,
                max_age_s=settings.store_age_s,
            )
        except OSError as error:
            raise SettingsError(f"CONVLAST_WORK_DIR cannot be used: {error}.") from None

    def close(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def new_job(self, job_id: str) -> JobFolder:
        """Make the folder of a job.

        Raises:
            NotReadyError: If the work folder is gone and cannot be made again.
        """
        path = self._jobs / job_id
        try:
            path.mkdir(mode=0o700)
        except (FileNotFoundError, NotADirectoryError):
            self._mend()
            path.mkdir(mode=0o700)
        return JobFolder(path, self.quota)

    def _mend(self) -> None:
        """Make the folders again: those who clean up temporary files take what looks unused."""
        with self._mending:
            if self._is_whole():
                return
            _log.warning("the work folder, or a part of it, is gone and is made again")
            try:
                if not self._lock.is_in_place():
                    # What is left there is what this service has made.
                    lock = FolderLock(self.folder, ())
                    self._lock.release()
                    self._lock = lock
                self._jobs.mkdir(mode=0o700, exist_ok=True)
                self.store.folder.mkdir(mode=0o700, exist_ok=True)
            except (OSError, SettingsError):
                raise NotReadyError("The work folder is gone.") from None

    def _is_whole(self) -> bool:
        """Say whether jobs have their place, and a lock keeps others away from it."""
        return self._jobs.is_dir() and self._lock.is_in_place()

    def check_space(self, upload_bytes: int) -> None:
        """Look whether an upload of this size would fit now.

        Raises:
            StorageFullError: If not.
            NotReadyError: If the work folder is gone and cannot be made again.
        """
        self.quota.check(upload_bytes)
        try:
            free_bytes = shutil.disk_usage(self.folder).free
        except OSError:
            self._mend()
            free_bytes = shutil.disk_usage(self.folder).free
        if upload_bytes > free_bytes:
            raise StorageFullError("The work folder has no room for this upload.")

    def problem(self) -> str | None:
        """Say why nothing can be written, if so."""
        probe = self.folder / _PROBE
        try:
            if not self._is_whole():
                self._mend()
            probe.write_bytes(b"writable")
            probe.unlink()
            free_bytes = shutil.disk_usage(self.folder).free
        except NotReadyError as error:
            return str(error)
        except OSError as error:
            return f"The work folder cannot be written: {error.strerror}."
        if free_bytes < MIN_FREE_BYTES:
            return f"The work folder has {free_bytes:,} bytes left."
        return None
