"""The work folder: running jobs, the store, and the lock.

All of it is on one file system, so that an upload, its artifact and the store can share bytes, and
a finished job is moved by renaming.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from convlast.byte_size import exact
from convlast.errors import StorageFullError
from convlast.places.removal import remove_tree
from service.errors import NotReadyError
from service.settings import Settings, SettingsError
from service.storage.folder_lock import FolderInUseError, FolderLock
from service.storage.inputs import Inputs
from service.storage.quota import Quota

MIN_FREE_BYTES = 64 << 20
# Where multiprocessing puts the socket of its fork server, if TMPDIR is this folder.
_TEMPORARY = "pymp-*"
_log = structlog.get_logger()


class JobFolder:
    """The folder of one job: its upload and its work, and its part of the quota."""

    def __init__(self, path: Path, quota: Quota) -> None:
        self.path = path
        self._quota = quota
        self._upload_bytes = 0
        self._unpacked_bytes = 0
        self._works = 0

    @property
    def upload(self) -> Path:
        """Where the checkpoint is received."""
        return self.path / "upload"

    def new_work(self) -> Path:
        """Make a folder for the files of an attempt.

        Raises:
            OSError: If it cannot be made.
        """
        self._works += 1
        work = self.path / f"work-{self._works}"
        work.mkdir(mode=0o700)
        return work

    def take(self, upload_bytes: int) -> None:
        """Count this many more bytes of the checkpoint.

        Raises:
            StorageFullError: If they do not fit into the quota.
        """
        self._quota.take(upload_bytes)
        self._upload_bytes += upload_bytes

    def count(self, upload_bytes: int) -> None:
        """Count a checkpoint that was accepted before, whether it fits or not."""
        self._quota.hold(upload_bytes)
        self._upload_bytes += upload_bytes

    def take_unpacked(self, unpacked_bytes: int) -> None:
        """Count the contents of an archive, unless this many bytes are counted already.

        Raises:
            StorageFullError: If they do not fit into the quota.
        """
        if (more := unpacked_bytes - self._unpacked_bytes) > 0:
            self.take(more)
            self._unpacked_bytes = unpacked_bytes

    def drop_upload(self) -> None:
        """Remove the checkpoint, if it is here; a thread frees its bytes while the caller goes on.

        Freeing takes about 0.15 s per gigabyte, which a client should not have to wait for. If no
        descriptor or thread is available, the caller waits.
        """
        path = self.upload
        try:
            held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            path.unlink(missing_ok=True)
            return
        try:
            path.unlink(missing_ok=True)
        finally:
            _close_aside(held)

    def give_back(self) -> None:
        """Give the bytes back to the quota."""
        upload_bytes, self._upload_bytes = self._upload_bytes, 0
        self._quota.give_back(upload_bytes)

    def remove(self) -> None:
        """Remove the folder, and give its bytes back even if it cannot be removed."""
        try:
            if not remove_tree(self.path):
                _log.warning("a job folder cannot be removed; the next start tries again")
        finally:
            self.give_back()


def _close_aside(descriptor: int) -> None:
    """Close a descriptor in a thread, if one can be started."""
    try:
        threading.Thread(target=os.close, args=(descriptor,)).start()
    except RuntimeError:
        os.close(descriptor)


def _clear_away(left: Path) -> None:
    """Remove what an earlier run has left, or move it aside, so that it does not stop this run."""
    if remove_tree(left):
        return
    aside = left.parent / _ASIDE
    with suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
        if left != aside:
            left.rename(aside / secrets.token_hex(8))
    _log.warning("leftovers of an earlier run cannot be removed and were set aside", name=left.name)


_JOBS, _STORE, _INPUTS, _PROBE = "jobs", "store", "inputs", "probe"
WORKERS = "workers"
"""The parent of the workers' folders; a job's folder moves into its worker's and back."""
_ASIDE = "aside"
"""The folder for leftovers of an earlier run that cannot be removed."""
_NAMES = (_JOBS, _STORE, _INPUTS, _PROBE, WORKERS, _ASIDE)


@dataclass(frozen=True)
class StorageState:
    """The state of the work folder and its disk.

    Attributes:
        problem: Why the folder cannot be written, if it cannot.
        free_bytes: Free bytes of its disk, if they are known.
        size_bytes: The size of its disk, if it is known.
    """

    problem: str | None
    free_bytes: int | None = None
    size_bytes: int | None = None


def check_folder(settings: Settings) -> str:
    """Check whether a service could use the work folder, and say what was found.

    The folder is made if it does not exist. Nothing is removed from it.

    Raises:
        SettingsError: If a service could not use it.
    """
    folder = settings.work_dir
    try:
        is_used = _is_used(folder)
        # Not the probe of a service that runs, which would miss it.
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"writable")
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise SettingsError(f"CONVLAST_WORK_DIR cannot be used: {error}.") from None
    if free_bytes < MIN_FREE_BYTES:
        raise SettingsError(f"CONVLAST_WORK_DIR={folder} has only {exact(free_bytes)} left.")
    used = " A service that runs uses it." if is_used else ""
    return f"{folder} can be used, and has {exact(free_bytes)} left.{used}"


def _is_used(folder: Path) -> bool:
    """Return whether a service uses the folder.

    Raises:
        SettingsError: If no service could use it.
    """
    try:
        FolderLock(folder, _NAMES).release()
    except FolderInUseError:
        return True
    return False


class Workspace:
    """The work folder of a running service."""

    def __init__(self, settings: Settings) -> None:
        """Lock the folder, and remove the unfinished jobs of an earlier run.

        Raises:
            SettingsError: If it cannot be written, or another user, program or service uses it.
        """
        self.folder = settings.work_dir
        self._jobs, self.store_folder = self.folder / _JOBS, self.folder / _STORE
        self._mending = threading.Lock()
        self.quota = Quota(settings.work_bytes)
        try:
            self._lock = FolderLock(self.folder, _NAMES)
            names = (_ASIDE, _JOBS, WORKERS)
            for left in (*map(self.folder.joinpath, names), *self.folder.glob(_TEMPORARY)):
                _clear_away(left)
            self._jobs.mkdir(mode=0o700, exist_ok=True)
            self.store_folder.mkdir(mode=0o700, exist_ok=True)
            self.inputs = Inputs(self.folder / _INPUTS)
        except OSError as error:
            raise SettingsError(f"CONVLAST_WORK_DIR cannot be used: {error}.") from None

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.release()

    def new_job(self) -> JobFolder:
        """Make a folder for a job.

        Raises:
            NotReadyError: If the work folder is gone and cannot be made again.
        """
        path = self._jobs / secrets.token_hex(16)
        try:
            path.mkdir(mode=0o700)
        except (FileNotFoundError, NotADirectoryError):
            self._mend()
            path.mkdir(mode=0o700)
        return JobFolder(path, self.quota)

    def _mend(self) -> None:
        """Make missing folders again: cleaners of temporary files remove unused ones."""
        with self._mending:
            if self._is_whole():
                return
            _log.warning("the work folder or a part of it was missing and is made again")
            try:
                if not self._lock.is_in_place():
                    # No names to check: this service has made what is in the folder.
                    lock = FolderLock(self.folder, ())
                    self._lock.release()
                    self._lock = lock
                self._jobs.mkdir(mode=0o700, exist_ok=True)
                for each in (self.store_folder, self.folder / _INPUTS):
                    each.mkdir(mode=0o700, exist_ok=True)
            except (OSError, SettingsError):
                raise NotReadyError("The work folder is gone.") from None

    def _is_whole(self) -> bool:
        """Return whether the jobs' folder and the lock exist."""
        return self._jobs.is_dir() and self._lock.is_in_place()

    def check_space(self, upload_bytes: int) -> None:
        """Check whether an upload of this size would fit now.

        Raises:
            StorageFullError: If it would not.
            NotReadyError: If the work folder is gone and cannot be made again.
        """
        self.quota.check(upload_bytes)
        try:
            free_bytes = shutil.disk_usage(self.folder).free
        except OSError:
            self._mend()
            free_bytes = shutil.disk_usage(self.folder).free
        if upload_bytes > free_bytes:
            raise StorageFullError("The disk of the work folder has no room for this upload.")

    def look(self) -> StorageState:
        """Return the state of the work folder and its disk."""
        problem = self.problem()
        try:
            usage = shutil.disk_usage(self.folder)
        except OSError:
            return StorageState(problem)
        return StorageState(problem, usage.free, usage.total)

    def problem(self) -> str | None:
        """Return why the work folder cannot be written, or none if it can."""
        probe = self.folder / _PROBE
        try:
            if not self._is_whole():
                self._mend()
            probe.write_bytes(b"writable")
            probe.unlink(missing_ok=True)  # another check may be at the same place
            free_bytes = shutil.disk_usage(self.folder).free
        except NotReadyError as error:
            return str(error)
        except OSError as error:
            return f"The work folder cannot be written: {error.strerror}."
        if free_bytes < MIN_FREE_BYTES:
            return f"The disk of the work folder has only {exact(free_bytes)} left."
        return None
