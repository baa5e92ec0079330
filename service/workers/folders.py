"""The folders of one worker: one to work in, and a read-only one with the checkpoint."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from convlast.places.removal import remove_tree


@dataclass(frozen=True)
class WorkerFolders:
    """The folders of one worker.

    Landlock's rights add up along a path, so neither of the two lies in the other.

    Attributes:
        root: The parent of both, to which the worker has no right.
    """

    root: Path

    @property
    def work(self) -> Path:
        """The folder that the worker can write to; the job's folder is moved into it."""
        return self.root / "work"

    @property
    def input(self) -> Path:
        """The folder that the worker can only read; it gets the checkpoint."""
        return self.root / "input"

    @classmethod
    def make(cls, parent: Path) -> WorkerFolders:
        """Make the folders of a new worker.

        Raises:
            OSError: If that is not possible; then nothing is left.
        """
        folders = cls(parent / secrets.token_hex(8))
        folders.root.mkdir(mode=0o700, parents=True)
        try:
            folders.work.mkdir(mode=0o700)
            folders.input.mkdir(mode=0o700)
        except BaseException:
            folders.remove()
            raise
        return folders

    def exist(self) -> bool:
        """Return whether both folders exist."""
        return self.work.is_dir() and self.input.is_dir()

    def remove(self) -> None:
        """Remove the folders with everything in them, as far as that is possible."""
        remove_tree(self.root)
