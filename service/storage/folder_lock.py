"""The lock of the work folder, which one service at a time can hold."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from service.settings import SettingsError

_NAME = "lock"


class FolderInUseError(SettingsError):
    """Another service has locked the folder."""


class FolderLock:
    """A lock on a folder, held until `release` or the end of this process."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Lock a folder, and make it if it does not exist.

        Args:
            folder: The folder.
            names: What the service removes or overwrites in the folder. These may exist only beside
                a lock file, an empty one, which shows that a service made them.

        Raises:
            FolderInUseError: If another service has locked the folder.
            SettingsError: If the folder belongs to another user, or one of `names` in it was not
                made by a service.
            OSError: If the folder cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise SettingsError(f"CONVLAST_WORK_DIR={folder} belongs to another user.")
        self._path = folder / _NAME
        if others := self._made_by_others(names):
            raise SettingsError(
                f"CONVLAST_WORK_DIR={folder} has a {others[0]!r} that no service has made and that "
                "would be lost: name an empty folder."
            )
        self._file = self._path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise FolderInUseError(
                f"CONVLAST_WORK_DIR={folder} is in use by another service: name another."
            ) from None
        self._touch()

    def _touch(self) -> None:
        """Renew the lock's file time: cleaners of temporary files remove the oldest files first."""
        with suppress(OSError):  # such as a file system that has become read-only
            os.utime(self._file.fileno())

    def _made_by_others(self, names: Iterable[str]) -> list[str]:
        if not self._path.exists():
            return [name for name in names if self._path.with_name(name).exists()]
        is_lock = self._path.is_file() and not self._path.stat().st_size
        return [] if is_lock else [_NAME]

    def is_in_place(self) -> bool:
        """Return whether the lock file is still where another service would look for it."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Unlock the folder."""
        self._touch()
        self._file.close()
