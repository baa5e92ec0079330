"""A store of objects on disk, which stay through a crash or a power failure.

A key such as `<job>/outcome.json` is a path in a folder.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from convlast.places.removal import remove_tree
from service.storage.objects import UNFINISHED
from service.storage.slices import FileSlice


class Folder:
    """The objects in a folder, see `Objects`."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it does not exist."""
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, key: str, text: str) -> bool:
        """Write a small object, and return whether it is the first with this key.

        It is on disk when this returns.
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
        """Return the bytes of a small object, or none if there is no such object."""
        try:
            return (self.folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def take(self, key: str, folder: Path, names: Collection[str], *, flushed: bool) -> None:
        """Move files below a key, and flush them with their names."""
        kept = self.folder / key
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            _move(folder / name, kept / name)
            if flushed:
                flush(kept / name)
        if flushed:
            flush(kept)
            flush(kept.parent)

    def open(self, key: str) -> FileSlice:
        """Open an object."""
        path = self.folder / key
        return FileSlice.whole(path.parent, path.name)

    def names(self) -> list[str]:
        """Return the first parts of all keys."""
        return [path.name for path in self.folder.iterdir()]

    def sizes(self, key: str) -> dict[str, int]:
        """Return the sizes of all objects below a key, by what follows it in their keys."""
        root = self.folder / key
        found = {}
        for folder, folders, names in os.walk(root):
            for name in (*folders, *names):
                path = Path(folder, name)
                size_bytes = 0 if name in folders else path.stat().st_size
                found[str(path.relative_to(root))] = size_bytes
        return found

    def remove(self, key: str) -> None:
        """Remove all objects below a key: all at once, even in a crash."""
        removed = self.folder / f"{UNFINISHED}{secrets.token_hex(8)}"
        with suppress(FileNotFoundError):
            (self.folder / key).rename(removed)
            # Otherwise a power failure could bring the key back with a part of its objects.
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


def _move(made: Path, kept: Path) -> None:
    """Move a file, unless an earlier try has moved it."""
    try:
        made.rename(kept)
    except FileNotFoundError:
        if not kept.exists():
            raise
