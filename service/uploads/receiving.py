"""A request's body on its way to disk: bounded, hashed, and never whole in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request

from convlast.errors import NotACheckpointError
from service.cancellation import completed
from service.errors import UploadTooSlowError
from service.headers.digests import ContentDigest
from service.headers.fields import as_list
from service.headers.filenames import named_in, sanitise
from service.settings import Settings
from service.storage.workspace import JobFolder
from service.uploads.multipart import Multipart
from service.uploads.upload_headers import MULTIPART, media_type_of, too_large

_BATCH_BYTES = 4 << 20
"""Of what is handed to threads at once. One batch comes in while they have another: an upload takes
twice as much memory. Hops between threads, and memory that is given back and taken again, made
those of 1 MiB cost half as much again of the processor."""
_BATCH_PIECES = 256
"""Of a client that sends single bytes, each of which is an object of forty."""


@dataclass(frozen=True)
class Upload:
    """A checkpoint that has arrived.

    Attributes:
        path: Where it lies.
        filename: Its name, safe to use, or none where the client gave none.
        bytes: Its size.
        sha256: The digest of its bytes, in hexadecimal.
        fields: Name and value of each form field.
    """

    path: Path
    filename: str | None
    bytes: int
    sha256: str
    fields: list[tuple[str, str]]


async def receive(
    request: Request, folder: JobFolder, names: list[str], settings: Settings
) -> Upload:
    """Write the checkpoint of a request into its folder.

    Args:
        request: The request, its body unread.
        folder: Where to write.
        names: The form fields that are allowed.
        settings: For the limits on size and time.

    Raises:
        MalformedRequestError: If the body cannot be read.
        NotACheckpointError: If it is empty.
        DigestMismatchError: If it is not what `Content-Digest` promised.
        OptionError: If it has a field that is not allowed.
        UploadTooLargeError: If it is larger than allowed.
        StorageFullError: If there is no room left for work.
        UploadTooSlowError: If it stands still, or takes too long.
        OSError: If it cannot be written.
        ClientDisconnect: If the client leaves.
    """
    body = await asyncio.to_thread(_Body, request.headers, folder, names, settings)
    try:
        async with asyncio.timeout(settings.upload_timeout_s):
            await _fill(body, _batches(request, settings.client_idle_s))
    except TimeoutError:
        raise UploadTooSlowError(
            f"The upload took longer than {settings.upload_timeout_s:g} s.",
            remedy="Raise CONVLAST_UPLOAD_TIMEOUT_S.",
        ) from None
    finally:
        body.file.close()
    return body.finish()


async def _fill(body: _Body, batches: AsyncIterator[list[bytes]]) -> None:
    """Hash one batch in a thread, and write it in another, while the next one comes in."""
    keeping: asyncio.Future[tuple[BaseException | None, BaseException | None]] | None = None
    try:
        async for batch in batches:
            pieces = body.unpack(batch)
            if keeping is not None:
                _raise_first(await asyncio.shield(keeping))
            keeping = asyncio.gather(
                asyncio.to_thread(body.write, pieces),
                asyncio.to_thread(body.hash, pieces, batch if body.digest.is_promised else []),
                return_exceptions=True,  # so that it is done when both threads are
            )
    finally:
        # A thread does not stop when it is no longer waited for, and it needs the file.
        if keeping is not None:
            await completed(asyncio.wait({keeping}))
    if keeping is not None:
        _raise_first(keeping.result())


def _raise_first(results: Iterable[BaseException | None]) -> None:
    """Raise what a thread raised, if one did."""
    for error in results:
        if error is not None:
            raise error


class _Body:
    """What takes the bytes of one body."""

    def __init__(
        self, headers: Headers, folder: JobFolder, names: list[str], settings: Settings
    ) -> None:
        self._headers = headers
        self._max_bytes = settings.max_upload_bytes
        self.digest = ContentDigest(as_list(headers, "content-digest"))
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._pieces: list[bytes] = []
        self._multipart: Multipart | None = None
        if media_type_of(headers) == MULTIPART:
            self._multipart = Multipart(headers["content-type"], names, self._keep)
        self._folder = folder
        self._path = folder.path / "upload"
        self.file = self._path.open("xb", buffering=0)

    def unpack(self, batch: list[bytes]) -> list[bytes]:
        """Give the pieces of the checkpoint in a batch, which are not copied into one."""
        take = self._multipart.write if self._multipart else self._keep
        for data in batch:
            take(data)
        pieces, self._pieces = self._pieces, []
        return pieces

    def _keep(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self._folder.take(len(data))
        self._pieces.append(data)

    def hash(self, pieces: list[bytes], batch: list[bytes]) -> None:
        """Add pieces to the checkpoint's digest, and the batch to the one that was promised."""
        for data in batch:
            self.digest.update(data)
        for data in pieces:
            self._sha256.update(data)

    def write(self, pieces: list[bytes]) -> None:
        """Write pieces of the checkpoint."""
        for data in pieces:
            view = memoryview(data)
            while view:
                view = view[self.file.write(view) :]

    def finish(self) -> Upload:
        """Check that all of it came."""
        self.digest.check()
        filename, fields = named_in(self._headers.get("content-disposition", "")), []
        if self._multipart:
            self._multipart.close()
            filename, fields = self._multipart.filename, self._multipart.fields
        if not self._bytes:
            raise NotACheckpointError("The checkpoint is empty.")
        name = sanitise(filename) if filename else None
        return Upload(self._path, name, self._bytes, self._sha256.hexdigest(), fields)


async def _batches(request: Request, idle_s: float) -> AsyncIterator[list[bytes]]:
    """Give the body in pieces large enough to be worth a hop to a thread."""
    batch: list[bytes] = []
    batch_bytes = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise UploadTooSlowError(
                f"No bytes came for {idle_s:g} s.", remedy="Raise CONVLAST_CLIENT_IDLE_S."
            ) from None
        if chunk is None:
            break
        if chunk:
            batch.append(chunk)
            batch_bytes += len(chunk)
        if batch_bytes >= _BATCH_BYTES or len(batch) >= _BATCH_PIECES:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch
