"""What a store of objects can do: a folder on disk, or a bucket.

An object has a key, such as `<job>/outcome.json`, and bytes. Small objects are created once and
whole, so that of several writers one is the first.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from service.storage.slices import Slice

UNFINISHED = "."
"""Prefix of what is being written or removed; a crash may leave such names."""


class Objects(Protocol):
    """A store of objects. The methods wait for a disk or a network: call them in a thread.

    Each of them raises OSError if the store cannot do what it is asked for.
    """

    def create(self, key: str, text: str) -> bool:
        """Write a small object, and return whether it is the first with this key.

        It appears whole or not at all, and stays when this returns.
        """

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a small object, or none if there is no such object."""

    def take(self, key: str, folder: Path, names: Collection[str], *, flushed: bool) -> None:
        """Move files below a key, under their own names. It may be tried again.

        Args:
            key: The key.
            folder: Where the files are.
            names: Their names.
            flushed: Whether they must stay through a power failure.
        """

    def open(self, key: str) -> Slice:
        """Open an object.

        Raises:
            NotFoundError: If there is no such object.
        """

    def names(self) -> list[str]:
        """Return the first parts of all keys."""

    def sizes(self, key: str) -> dict[str, int]:
        """Return the sizes of all objects below a key, by what follows it in their keys.

        A folder, which may be empty, counts as an object of no bytes.
        """

    def remove(self, key: str) -> None:
        """Remove all objects below a key."""
