"""A store of objects in a bucket, which several services can share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import obstore

from convlast.errors import SourceNotFoundError
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions, open_store
from convlast.stores.patience import patiently
from convlast.stores.reading import Listed, listing, stat
from convlast.stores.refusals import translated
from convlast.stores.writing import create, put, remove
from service.errors import NotFoundError
from service.storage.asking import Asking
from service.storage.slices import Slice

_WINDOW_BYTES = 4 << 20
"""What a download reads at once, and has in memory: each request costs some 10 ms."""


class Bucket:
    """The objects below an address, see `Objects`.

    Each method raises StoreError if the store does not do what it is asked for.
    """

    def __init__(self, address: Address, options: StoreOptions | None = None) -> None:
        """Set up; nothing is asked yet.

        Args:
            address: The bucket, or a folder of it.
            options: How it is asked.
        """
        self.address, self._options = address, options or StoreOptions()
        self._asking = Asking()

    def create(self, key: str, text: str) -> bool:
        """Write a small object, and return whether it is the first with this key."""
        return self._asking.wait(create(text.encode(), self.at(key), self._options))

    def write(self, key: str, text: str) -> None:
        """Write a small object, or replace the one that is there."""
        address = self.at(key)
        store = open_store(address, self._options)

        async def ask() -> None:
            with translated(address):
                await obstore.put_async(store, address.path, text.encode(), use_multipart=False)

        self._asking.wait(patiently(ask, self._options))

    def read(self, key: str) -> bytes | None:
        """Return the bytes of a small object, or none if there is no such object."""
        address = self.at(key)
        store = open_store(address, self._options)

        async def ask() -> bytes:
            with translated(address):
                found = await obstore.get_async(store, address.path)
                return bytes(await found.bytes_async())

        try:
            return self._asking.wait(patiently(ask, self._options))
        except SourceNotFoundError:
            return None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a part of an object."""
        address = self.at(key)
        store = open_store(address, self._options)

        async def ask() -> bytes:
            with translated(address):
                part = await obstore.get_range_async(
                    store, address.path, start=start, length=length
                )
                return bytes(part)

        return self._asking.wait(patiently(ask, self._options))

    def take(self, key: str, folder: Path, names: Collection[str], *, flushed: bool) -> None:
        """Send files to below a key."""
        for name in names:
            self.put(f"{key}/{name}", folder / name)

    def put(self, key: str, path: Path) -> None:
        """Send a file."""
        self._asking.wait(put(path, self.at(key), self._options))

    def open(self, key: str) -> Slice:
        """Open an object."""
        try:
            size_bytes = self._asking.wait(stat(self.at(key), self._options)).size_bytes
        except SourceNotFoundError:
            raise NotFoundError("There is no such file, or it is gone.") from None
        return StoredSlice(lambda start, length: self.read_range(key, start, length), 0, size_bytes)

    def names(self) -> list[str]:
        """Return the first parts of all keys."""
        return sorted({each.name.partition("/")[0] for each in self.listed("")})

    def sizes(self, key: str) -> dict[str, int]:
        """Return the sizes of all objects below a key, by what follows it in their keys."""
        return {each.name: each.size_bytes for each in self.listed(key)}

    def listed(self, key: str) -> list[Listed]:
        """Return all objects below a key."""
        return self._asking.wait(listing(self.at(key) if key else self.address, self._options))

    def remove(self, key: str) -> None:
        """Remove an object, and all objects below a key."""
        self._asking.wait(self._remove(key))

    async def _remove(self, key: str) -> None:
        below = [each.address for each in await listing(self.at(key), self._options)]
        with suppress(IsADirectoryError):
            await asyncio.gather(
                *(remove(each, self._options) for each in below or [self._object_at(key)])
            )

    def _object_at(self, key: str) -> Address:
        """Return the address of an object that has none below it.

        Raises:
            IsADirectoryError: If it is an empty folder on a disk, which stays.
        """
        address = self.at(key)
        if address.scheme == "file" and Path("/", address.path).is_dir():
            raise IsADirectoryError(str(address))
        return address

    def break_off(self) -> None:
        """Let all that is asked, and will be, fail at once."""
        self._asking.break_off()

    def at(self, key: str) -> Address:
        """Return the address of an object."""
        return self.address.child(key)


@dataclass
class _Window:
    """The part of an object that was read last."""

    start: int = 0
    data: bytes = b""
    reading: Lock = field(default_factory=Lock)


@dataclass(frozen=True)
class StoredSlice:
    """A part of an object in a store, read in windows as it is asked for.

    Attributes:
        fetch: Reads the bytes of the object from a start on, of a length.
        start: Where the part begins.
        size_bytes: Its size.
    """

    fetch: Callable[[int, int], bytes]
    start: int
    size_bytes: int
    _window: _Window = field(default_factory=_Window, repr=False)

    def part(self, start: int, length: int) -> StoredSlice:
        """Return the `length` bytes from `start` as a slice of their own."""
        return StoredSlice(self.fetch, self.start + start, length)

    def read_at(self, start: int, length: int) -> bytes:
        """Read the `length` bytes from `start`."""
        window = self._window
        with window.reading:
            if not window.start <= start <= start + length <= window.start + len(window.data):
                wanted = max(length, min(_WINDOW_BYTES, self.size_bytes - start))
                window.data = self.fetch(self.start + start, wanted)
                window.start = start
            offset = start - window.start
            return window.data[offset : offset + length]

    def read(self) -> bytes:
        """Read all of its bytes."""
        return self.fetch(self.start, self.size_bytes)

    def close(self) -> None:
        """Let go of what was read."""
        self._window.data = b""
