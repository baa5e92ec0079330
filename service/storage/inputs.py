"""The checkpoints of accepted jobs, kept as long as a job refers to them.

Each owner has their own: whether somebody else has sent the same bytes cannot be found out.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.storage.folder import flush


@dataclass(frozen=True)
class InputKey:
    """Names the bytes of an owner.

    Attributes:
        owner: The owner.
        sha256: The digest of the bytes, in hexadecimal.
    """

    owner: str
    sha256: str

    @property
    def filename(self) -> str:
        """The name of its file, which tells nothing of the owner."""
        return hashlib.sha256(f"{self.owner}\0{self.sha256}".encode()).hexdigest()


class Inputs:
    """A folder of checkpoints. The methods but `hold` use the disk: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it does not exist."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._holders: Counter[InputKey] = Counter()
        self._changes = threading.Lock()

    def path(self, key: InputKey) -> Path:
        """Return where a checkpoint is, if it is kept."""
        return self._folder / key.filename

    def hold(self, key: InputKey) -> bool:
        """Keep a checkpoint for one job more, until `let_go`; return whether it is there."""
        with self._changes:
            self._holders[key] += 1
        return self.path(key).is_file()

    def keep(self, key: InputKey, upload: Path) -> None:
        """Move the upload of a job that holds it here, unless it is here already, and flush it.

        Raises:
            OSError: If it cannot be written.
        """
        path = self.path(key)
        # Not while holding the lock: this takes seconds, and `hold` must not wait for it.
        if not path.is_file():
            # Only the service writes to it, but a worker reads a link to it.
            upload.chmod(0o400)
            flush(upload)
        with self._changes:
            if path.is_file():
                upload.unlink(missing_ok=True)
            else:
                upload.rename(path)
        flush(self._folder)

    def let_go(self, key: InputKey) -> None:
        """Remove a checkpoint if no other job holds it."""
        removed = self._folder / secrets.token_hex(16)
        with suppress(OSError):
            with self._changes:
                self._holders[key] -= 1
                if self._holders[key] > 0:
                    return
                del self._holders[key]
                self.path(key).rename(removed)
            removed.unlink()  # takes 0.15 s per gigabyte

    def remove_others(self) -> None:
        """Remove the checkpoints that no job holds, which a crash has left."""
        held = {key.filename for key in self._holders}
        for path in list(self._folder.iterdir()):
            if path.name not in held:
                with suppress(OSError):
                    path.unlink()
