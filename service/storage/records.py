"""Small records that are written once, whole, and stay through a crash or a power failure.

A record has a key, such as `<job>/outcome.json`, and text. The three verbs are those of an object
store: create a key that does not exist yet, read a key, and remove all keys below another.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from convlast.removal import remove_tree

UNFINISHED = "."
"""Prefix of what is being written or removed; a crash may leave such names."""


class Records:
    """Records in a folder. The methods use the disk: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it does not exist."""
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, key: str, text: str) -> bool:
        """Write a record, and return whether it is the first with this key.

        It appears whole or not at all, and is on disk when this returns.

        Raises:
            OSError: If it cannot be written.
        """
        path = self.folder / key
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flush(path.parent.parent)
        unfinished = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
        try:
            with unfinished.open("x") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # Unlike a renamed file, a link never replaces an existing one.
            os.link(unfinished, path)
        except FileExistsError:
            return False
        finally:
            with suppress(OSError):
                unfinished.unlink()
        flush(path.parent)
        return True

    def read(self, key: str) -> bytes | None:
        """Return the text of a record, or none if there is no such record."""
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, key: str) -> None:
        """Remove all records below a key, and all files there: all at once, even in a crash."""
        removed = self.folder / f"{UNFINISHED}{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            (self.folder / key).rename(removed)
            # Otherwise a power failure could bring the key back with a part of its records.
            with suppress(OSError):
                flush(self.folder)
            remove_tree(removed)


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to disk, so that a power failure cannot lose it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
