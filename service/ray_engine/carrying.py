"""The files of jobs on their way between replicas and slots, in a store that both can reach."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from convlast.errors import ConvlastError
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.reading import fetch, listing
from convlast.stores.writing import put, remove
from service.cancellation import Aside
from service.errors import WorkerCrashedError
from service.ray_engine.messages import Ended, Order
from service.storage.discretion import as_own_store
from service.workers import Finished
from service.workers.results import open_made

MOST_PUTS = 4
"""Checkpoints that are put into the store at once: each has some parts of 16 MiB in memory."""

SMALL_BYTES = 24 << 10
"""A result of at most this size is told with the end of its run, and does not go through the store:
three of them are less than what Ray tells at once, which is 100 kB."""

STOP_S = 3.0
"""How long the end of the service waits for a store that is away."""


class Lending:
    """Lends checkpoints to slots, each in a folder of its own below `moving/`."""

    def __init__(self, store: str, options: StoreOptions) -> None:
        """Set up.

        Args:
            store: The address of the store.
            options: How it is asked.
        """
        self._moving, self._options = f"{store.rstrip('/')}/moving", options
        self._putting = asyncio.Semaphore(MOST_PUTS)
        self._clearing = Aside()

    @asynccontextmanager
    async def lent(self, source: Path) -> AsyncIterator[str]:
        """Put a checkpoint into a new folder of the store, and yield the address of the folder.

        The folder is removed afterwards, and nobody waits for that.

        Raises:
            StoreError: If the store does not take it.
        """
        folder = f"{self._moving}/{secrets.token_hex(16)}/"
        try:
            async with self._putting:
                with as_own_store():
                    await put(source, Address.parse(f"{folder}source"), self._options)
            yield folder
        finally:
            self._clearing.do(clear(folder, self._options))

    async def stop(self) -> None:
        """Wait for a moment until all is removed; what stays is left to the rules of the store."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._clearing.done()
        await self._clearing.done()  # what was cancelled ends now


async def put_results(
    order: Order, finished: Finished, folder: Path, options: StoreOptions
) -> dict[str, bytes]:
    """Put the results of a run into the store, and return the contents of the small ones instead.

    Args:
        order: What was run.
        finished: Names the results.
        folder: Where they are.
        options: How the store is asked.

    Raises:
        StoreError: If the store does not take them.
        WorkerCrashedError: If one of them is no plain file, or is named by a path.
    """
    small = {}
    for number, name in enumerate(_names(finished)):
        opened = open_made(folder, name)  # it may be a link, and only its opening shows that
        with opened.file:
            if opened.size_bytes <= SMALL_BYTES:
                small[name] = opened.read()
                continue
        with as_own_store():
            await put(folder / name, order.result(number), options)
    return small


async def fetch_results(order: Order, ended: Ended, folder: Path, options: StoreOptions) -> None:
    """Bring the results of a run into a folder.

    Args:
        order: What was run.
        ended: How it has ended.
        folder: Where they will be.
        options: How the store is asked.

    Raises:
        StoreError: If the store does not give them.
        WorkerCrashedError: If one of them is named by a path.
    """
    for number, name in enumerate(_names(ended.finished)):
        if name in ended.small:
            (folder / name).write_bytes(ended.small[name])
        else:
            with as_own_store():
                await fetch(order.result(number), folder / name, options)


async def clear(folder: str, options: StoreOptions) -> None:
    """Remove what lies in a folder of the store, if that is possible now.

    What stays is left to the rules of the store; see docs/scaling.md.
    """
    with suppress(ConvlastError):
        for each in await listing(Address.parse(folder), options):
            await remove(each.address, options)


def _names(finished: Finished | None) -> list[str]:
    """Return the names of the results, in the order of their numbers.

    Raises:
        WorkerCrashedError: If one of them is a path, or two are the same.

    >>> _names(Finished(verdict="passed", reports=[{"filename": "report.json"}]))
    ['report.json']
    """
    made = [finished.artifact, *finished.reports] if finished else []
    names = [each.filename for each in made if each]
    if len(set(names)) < len(names) or any(Path(name).name != name for name in names):
        raise WorkerCrashedError.nonsense()
    return names
