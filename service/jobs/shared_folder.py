"""The files of a result that is not stored, until all clients have their answers."""

from __future__ import annotations

import threading

from service.storage.workspace import JobFolder


class SharedFolder:
    """The folder of a result that is not stored, removed when all clients have their answers."""

    def __init__(self, folder: JobFolder, holders: int) -> None:
        self._folder, self._holders = folder, holders
        self._changes = threading.Lock()

    def release(self) -> None:
        """Note that a client has its answer, or has left; any thread may call this."""
        with self._changes:
            self._holders -= 1
            is_last = self._holders == 0
        if is_last:
            self._folder.remove()
