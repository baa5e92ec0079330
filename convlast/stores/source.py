"""An object that can be read in ranges, wherever it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

import obstore

from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions, open_store
from convlast.stores.refusals import changed, translated

_PIECE_BYTES = 1 << 18
"""What is handed on at once: less is lost when a connection is cut."""


@dataclass(frozen=True)
class Stat:
    """What is known of an object before it is read.

    Attributes:
        size_bytes: Its size.
        version: What tells it from another object at the same address, its ETag; empty if the
            store has none.
        is_ranged: Whether it can be read in ranges.
    """

    size_bytes: int
    version: str
    is_ranged: bool = True


class Source(Protocol):
    """An object, to be read."""

    async def stat(self) -> Stat:
        """Return what is known of it.

        Raises:
            StoreError: If the store does not say.
        """
        ...

    def read(self, start: int, stop: int, stat: Stat) -> AsyncGenerator[memoryview]:
        """Yield the bytes of a range, piece by piece.

        Args:
            start: The first byte.
            stop: The byte after the last.
            stat: What is known of it.

        Raises:
            SourceChangedError: If another object is there now.
            StoreError: If the store does not send them.
        """
        ...


class StoredSource:
    """An object in a bucket, or a file."""

    def __init__(self, address: Address, options: StoreOptions) -> None:
        self._address = address
        self._store = open_store(address, options)

    async def stat(self) -> Stat:
        """Return what is known of it."""
        with translated(self._address):
            meta = await obstore.head_async(self._store, self._address.path)
        return Stat(meta["size"], meta["e_tag"] or "")

    async def read(self, start: int, stop: int, stat: Stat) -> AsyncGenerator[memoryview]:
        """Yield the bytes of a range, piece by piece."""
        options: obstore.GetOptions = {"range": (start, stop)}
        if stat.version:
            options["if_match"] = stat.version
        with translated(self._address):
            found = await obstore.get_async(self._store, self._address.path, options=options)
            # Some servers do not know the condition.
            if Stat(found.meta["size"], found.meta["e_tag"] or "") != stat:
                raise changed(self._address)
            if self._address.scheme == "file":  # obstore would stream it in pieces of 8 KiB
                yield memoryview(await found.bytes_async())
                return
            async for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                yield memoryview(piece)
