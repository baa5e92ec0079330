"""Writing objects: whole or not at all, and once."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable
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
    part: range | None = None,
    progress: Progress = silent,
) -> None:
    """Write a file to a store. The object is visible whole, or not at all.

    What was sent of a large file is removed if this raises, or is cancelled; if the process is
    killed, by a lifecycle rule of the bucket: see `docs/stores.md`.

    Args:
        path: The file.
        address: Where the object will be; one that is there is replaced.
        options: How its store is asked.
        part: The bytes of the file to write; all of them if it is not given.
        progress: Told of the stage `upload`.

    Raises:
        AddressError: If nothing can be written there.
        StoreError: If the store does not take it.
    """
    options = options or StoreOptions()
    if part is None:
        part = range((await asyncio.to_thread(path.stat)).st_size)
    size_bytes = len(part)
    is_small = size_bytes <= options.part_bytes
    portions = Portions(progress, "upload", size_bytes)
    # The last byte is told of when the object is there.
    last = size_bytes if is_small else 1
    content: bytes | AsyncIterator[bytes] = _read(path, part, size_bytes - last, portions.add)
    if is_small:
        content = await asyncio.to_thread(_bytes_of, path, part)
    await _send(content, size_bytes, address, options)
    if last:
        portions.add(last)


async def put_pieces(
    pieces: AsyncIterator[bytes],
    about_bytes: int,
    address: Address,
    options: StoreOptions | None = None,
) -> None:
    """Write an object whose bytes take their time to come; otherwise as `put`.

    Args:
        pieces: The bytes. What this raises ends the work, and what was sent is removed.
        about_bytes: How many bytes will come: at most a tenth more.
        address: Where the object will be, when the pieces have ended.
        options: How its store is asked.

    Raises:
        AddressError: If nothing can be written there.
        StoreError: If the store does not take it.
    """
    await _send(pieces, about_bytes + about_bytes // 10, address, options or StoreOptions())


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


async def _send(
    content: bytes | AsyncIterator[bytes], most_bytes: int, address: Address, options: StoreOptions
) -> None:
    """Send an object of at most so many bytes.

    Raises:
        AddressError: If nothing can be written there.
        StoreError: If the store does not take it.
    """
    _refuse_unwritable(address)
    mark = _mark_of(address)
    try:
        with translated(address):
            await _Upload(content, most_bytes).send(address, options, mark)
    except SourceNotFoundError:
        # The answer to the last request was lost, and the parts of the second one are gone.
        if not await _has(mark, address, options):
            raise


def _bytes_of(path: Path, part: range) -> bytes:
    with path.open("rb") as file:
        file.seek(part.start)
        return file.read(len(part))


async def _read(
    path: Path, part: range, most: int, told: Callable[[int], object]
) -> AsyncIterator[bytes]:
    """Yield a part of a file in pieces, and tell of them when taken, up to so many bytes."""
    with path.open("rb", buffering=0) as file:
        file.seek(part.start)
        for start in part[::_PIECE_BYTES]:
            wanted = min(_PIECE_BYTES, part.stop - start)
            if not (piece := await asyncio.to_thread(file.read, wanted)):
                return
            yield piece
            if count := min(len(piece), most):
                told(count)
            most -= count


class _Upload:
    """Bytes on their way."""

    def __init__(self, content: bytes | AsyncIterator[bytes], most_bytes: int) -> None:
        self._content = content
        self._most_bytes = most_bytes
        self._is_stopped = False

    async def send(
        self, address: Address, options: StoreOptions, mark: dict[str, str] | None
    ) -> None:
        """Send them, and remove what was sent if that is cancelled."""
        store = open_store(address, options, sending=True)
        is_small = isinstance(self._content, bytes)
        sending = asyncio.ensure_future(
            obstore.put_async(
                store,
                address.path,
                self._content if isinstance(self._content, bytes) else self._pieces(self._content),
                attributes=mark,
                use_multipart=not is_small,
                chunk_size=max(options.part_bytes, math.ceil(self._most_bytes / _MOST_PARTS)),
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

    async def _pieces(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
            if self._is_stopped:
                raise _StoppedError


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
