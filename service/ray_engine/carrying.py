"""Carries the files of jobs between replicas and slots, through a store that both can reach."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from convlast.errors import ConvlastError
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.reading import fetch, listing
from convlast.stores.writing import put, remove

MOST_PUTS = 4
"""Checkpoints that are put into the store at once: each has some parts of 16 MiB in memory."""


class Carrier(Protocol):
    """Moves files to and from a store; all addresses are texts."""

    async def put(self, path: Path, address: str) -> None:
        """Put a file into the store."""

    async def fetch(self, address: str, path: Path) -> None:
        """Fetch a file from the store."""

    async def clear(self, folder: str) -> None:
        """Remove what lies in a folder of the store."""


@dataclass(frozen=True)
class StoreCarrier:
    """Carries files through an object store or a shared folder."""

    options: StoreOptions = field(default_factory=StoreOptions)

    async def put(self, path: Path, address: str) -> None:
        """Put a file into the store.

        Raises:
            StoreError: If that is not possible.
        """
        await put(path, Address.parse(address), self.options)

    async def fetch(self, address: str, path: Path) -> None:
        """Fetch a file from the store.

        Raises:
            StoreError: If that is not possible.
        """
        await fetch(Address.parse(address), path, self.options)

    async def clear(self, folder: str) -> None:
        """Remove what lies in a folder of the store.

        Raises:
            StoreError: If that is not possible.
        """
        found = await listing(Address.parse(folder), self.options)
        await asyncio.gather(*(remove(each.address, self.options) for each in found))


class Lending:
    """Lends checkpoints to slots, through a store."""

    def __init__(self, carrier: Carrier, store: str) -> None:
        """Set up.

        Args:
            carrier: Carries the files.
            store: The address of the store.
        """
        self._carrier, self._folder = carrier, f"{store.rstrip('/')}/moving"
        self._putting = asyncio.Semaphore(MOST_PUTS)
        self._clearing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lent(self, source: Path) -> AsyncIterator[str]:
        """Put a checkpoint into a new folder of the store, and yield the address of the folder.

        The folder is removed afterwards, and nobody waits for that.
        """
        folder = f"{self._folder}/{secrets.token_hex(16)}/"
        try:
            async with self._putting:
                await self._carrier.put(source, f"{folder}source")
            yield folder
        finally:
            task = asyncio.create_task(self._clear(folder))
            self._clearing.add(task)
            task.add_done_callback(self._clearing.discard)

    async def stop(self) -> None:
        """Wait until all is removed."""
        await asyncio.gather(*self._clearing)

    async def _clear(self, folder: str) -> None:
        # What cannot be removed now is left to the rules of the store; see docs/scaling.md.
        with suppress(ConvlastError):
            await self._carrier.clear(folder)
