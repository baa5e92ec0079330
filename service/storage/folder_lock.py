"""The lock in the work folder: one service at a time has it, and what lies beside it is its own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from service.settings import SettingsError

_NAME = "lock"


class FolderLock:
    """A folder that is held, until `release` or the end of this process."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        """Take a folder, which is made if it is not there.

        Args:
            folder: The folder.
            names: What the service removes or overwrites in it. It may be there only where a lock
                says that a service has made it: an empty file, made before all the rest.

        Raises:
            SettingsError: If the folder is another user's, another service has it, or there is
                something in it that no service has made.
            OSError: If it cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise SettingsError(f"CONVLAST_WORK_DIR={folder} belongs to another user.")
        self._path = folder / _NAME
        if others := self._made_by_others(names):
            raise SettingsError(
                f"CONVLAST_WORK_DIR={folder} has a {others[0]!r} that no service has made, and "
                "that would be lost: name an empty folder."
            )
        self._file = self._path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise SettingsError(
                f"CONVLAST_WORK_DIR={folder} is in use by another service: name another."
            ) from None
        self._touch()

    def _touch(self) -> None:
        """Make the lock young: else those who clean up temporary files take it before the rest."""
        with suppress(OSError):  # a file system that has become read-only, say
            os.utime(self._file.fileno())

    def _made_by_others(self, names: Iterable[str]) -> list[str]:
        if not self._path.exists():
            return [name for name in names if self._path.with_name(name).exists()]
        is_lock = self._path.is_file() and not self._path.stat().st_size
        return [] if is_lock else [_NAME]

    def is_in_place(self) -> bool:
        """Say whether the lock is still where another service would look for it."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Give the folder back."""
        self._touch()
        self._file.close()
