"""The parts of an object, on their way into a file: several at once, each asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import aclosing

from convlast.errors import StoreError
from convlast.errors.full_disk import full_disk_translated
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.patience import Patience
from convlast.stores.refusals import unavailable
from convlast.stores.source import Source, Stat

_HASHED_BYTES = 1 << 20


class Parts:
    """An object on its way into a file."""

    def __init__(
        self, address: Address, source: Source, stat: Stat, options: StoreOptions, *, at: int = 0
    ) -> None:
        """Prepare; `at` is where in the file the object begins."""
        self._address, self._at = address, at
        self._source = source
        self._stat = stat
        self._options = options
        part_bytes = options.part_bytes if stat.is_ranged else max(1, stat.size_bytes)
        self._starts = range(0, stat.size_bytes, part_bytes)
        self._there = [asyncio.Event() for _ in self._starts]

    async def take(self, file: int, told: Callable[[int], object]) -> str:
        """Write all of them, and return the SHA-256 of the whole.

        Args:
            file: The descriptor of the file.
            told: Called with the size of each piece that was written.

        Raises:
            StoreError: If the store does not send one of them.
            StorageFullError: If the disk is full.
        """
        left = iter(range(len(self._starts)))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._options.parallel):
                    group.create_task(self._take_some(left, file, told))
                return await self._digest(file)
        except BaseExceptionGroup as errors:
            error = errors.exceptions[0]
        raise error

    async def _take_some(
        self, left: Iterator[int], file: int, told: Callable[[int], object]
    ) -> None:
        """Take parts as long as there are any that nobody has taken."""
        for number in left:
            start = self._starts[number]
            stop = min(start + self._starts.step, self._stat.size_bytes)
            patience = Patience(self._options)
            while start < stop:
                try:
                    async with aclosing(self._source.read(start, stop, self._stat)) as pieces:
                        async for piece in pieces:
                            piece = piece[: stop - start]
                            await _written(file, piece, self._at + start)
                            start += len(piece)
                            patience.renew()
                            told(len(piece))
                    if start < stop:
                        raise unavailable(self._address, "away")
                except StoreError as error:
                    await patience.bear(error)
            self._there[number].set()

    async def _digest(self, file: int) -> str:
        """Hash the parts in their order, each when it and all before it are there."""
        digest = hashlib.sha256()
        for start, there in zip(self._starts, self._there, strict=True):
            await there.wait()
            stop = min(start + self._starts.step, self._stat.size_bytes)
            offsets = range(self._at + start, self._at + stop, _HASHED_BYTES)
            await asyncio.to_thread(_hash, digest, file, offsets)
        return digest.hexdigest()


async def _written(file: int, piece: memoryview, offset: int) -> None:
    """Write a piece in a thread, and wait for that even if this is cancelled.

    The file is closed afterwards, and its number may soon be that of another one.
    """
    writing = asyncio.ensure_future(asyncio.to_thread(_write, file, piece, offset))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise


def _write(file: int, piece: memoryview, offset: int) -> None:
    with full_disk_translated(remedy="Make room where the object is fetched to."):
        while piece:
            count = os.pwrite(file, piece, offset)
            piece, offset = piece[count:], offset + count


def _hash(digest: hashlib._Hash, file: int, offsets: range) -> None:
    for offset in offsets:
        digest.update(os.pread(file, min(_HASHED_BYTES, offsets.stop - offset), offset))
