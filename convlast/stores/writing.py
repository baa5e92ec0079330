"""Writing objects: whole or not at all, and once."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError

from convlast.errors import AddressError, SourceNotFoundError
from convlast.progress import Portions, Progress, silent
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions, open_store
from convlast.stores.patience import patiently
from convlast.stores.refusals import translated

_MOST_PARTS = 10_000
"""What S3 allows. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

_PIECE_BYTES = 1 << 20
_ABORTED_WITHIN_S = 10
_MARK = "convlast"
"""The metadata of an object that say which call wrote it."""


class _StoppedError(Exception):
    """The upload was cancelled."""


async def put(
    path: Path,
    address: Address,
    options: StoreOptions | None = None,
    *,
    progress: Progress = silent,
) -> None:
    """Write a file to a store. The object is visible whole, or not at all.

    What was sent of a large file is removed if this raises, or is cancelled; if the process is
    killed, by a lifecycle rule of the bucket: see `docs/stores.md`.

    Args:
        path: The file.
        address: Where the object will be; one that is there is replaced.
        options: How its store is asked.
        progress: Told of the stage `upload`.

    Raises:
        AddressError: If nothing can be written there.
        StoreError: If the store does not take it.
    """
    options = options or StoreOptions()
    _refuse_unwritable(address)
    mark = _mark_of(address)
    upload = _Upload(path, progress)
    try:
        with translated(address):
            await upload.send(address, options, mark)
    except SourceNotFoundError:
        # The answer to the last request was lost, and the parts of the second one are gone.
        if not await _has(mark, address, options):
            raise
    upload.end()


async def create(data: bytes, address: Address, options: StoreOptions | None = None) -> bool:
    """Write an object where there is none. Of many who try, one succeeds.

    Args:
        data: Its bytes, which are few.
        address: Where it will be.
        options: How its store is asked.

    Returns:
        Whether this call has written it. If not, another one is there.

    Raises:
        AddressError: If nothing can be written there.
        StoreError: If the store does not answer.
    """
    options = options or StoreOptions()
    _refuse_unwritable(address)
    store, mark = open_store(address, options), _mark_of(address)
    tries = 0

    async def ask() -> bool:
        nonlocal tries
        tries += 1
        with translated(address):
            try:
                await obstore.put_async(
                    store, address.path, data, mode="create", attributes=mark, use_multipart=False
                )
            except AlreadyExistsError:
                return False
        return True

    # An earlier try may have written it, though its answer was lost.
    return await patiently(ask, options) or (tries > 1 and await _has(mark, address, options))


async def remove(address: Address, options: StoreOptions | None = None) -> None:
    """Remove an object, if it is there.

    Args:
        address: Where it is.
        options: How its store is asked.

    Raises:
        AddressError: If nothing can be removed there.
        StoreError: If the store does not do it.
    """
    options = options or StoreOptions()
    _refuse_unwritable(address)
    store = open_store(address, options)

    async def ask() -> None:
        with translated(address):
            await obstore.delete_async(store, address.path)

    try:
        await patiently(ask, options)
    except SourceNotFoundError:
        return


class _Upload:
    """A file on its way."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._size_bytes = path.stat().st_size
        # The last byte is told of when the object is there.
        self._portions = Portions(progress, "upload", self._size_bytes)
        self._told_bytes = 0
        self._is_stopped = False

    async def send(
        self, address: Address, options: StoreOptions, mark: dict[str, str] | None
    ) -> None:
        """Send it, and remove what was sent if that is cancelled."""
        store = open_store(address, options, sending=True)
        is_small = self._size_bytes <= options.part_bytes
        sending = asyncio.ensure_future(
            obstore.put_async(
                store,
                address.path,
                self._path.read_bytes() if is_small else self._pieces(),
                attributes=mark,
                use_multipart=not is_small,
                chunk_size=max(options.part_bytes, math.ceil(self._size_bytes / _MOST_PARTS)),
                max_concurrency=options.parallel,
            )
        )
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # obstore removes the parts if its source fails, not if it is cancelled itself.
            self._is_stopped = True
            sending.add_done_callback(_taken_note_of)
            await asyncio.wait({sending}, timeout=0 if is_small else _ABORTED_WITHIN_S)
            sending.cancel()
            raise

    async def _pieces(self) -> AsyncIterator[bytes]:
        with self._path.open("rb", buffering=0) as file:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                yield piece
                if self._is_stopped:
                    raise _StoppedError
                self._tell(min(len(piece), self._size_bytes - 1 - self._told_bytes))

    def end(self) -> None:
        """Say that the object is there."""
        self._tell(self._size_bytes - self._told_bytes)

    def _tell(self, count: int) -> None:
        if count > 0:
            self._told_bytes += count
            self._portions.add(count)


def _taken_note_of(sending: asyncio.Future[obstore.PutResult]) -> None:
    """Look at how it ended, or asyncio complains that nobody has."""
    _ = sending.cancelled() or sending.exception()


def _refuse_unwritable(address: Address) -> None:
    if address.scheme == "https":
        raise AddressError(
            f"Nothing can be written to {address}.",
            address=str(address),
            remedy="Use s3://, gs://, az:// or file://.",
        )
    if address.is_folder:
        raise AddressError(
            f"{address} names a folder, where one object is asked for.", address=str(address)
        )


def _mark_of(address: Address) -> dict[str, str] | None:
    """Return what tells the object of one call from those of others; files need none."""
    return None if address.scheme == "file" else {_MARK: secrets.token_hex(16)}


async def _has(mark: dict[str, str] | None, address: Address, options: StoreOptions) -> bool:
    """Return whether the object has this mark."""
    if mark is None:
        return False
    store = open_store(address, options)

    async def ask() -> bool:
        with translated(address):
            found = await obstore.get_async(store, address.path)
            return found.attributes.get(_MARK) == mark[_MARK]

    try:
        return await patiently(ask, options)
    except SourceNotFoundError:
        return False
