"""Writes the body of a request to disk: bounded, hashed, and never whole in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request

from convlast.errors import NotACheckpointError
from service.cancellation import completed
from service.errors import UploadTooLargeError, UploadTooSlowError
from service.headers.digests import ContentDigest
from service.headers.fields import as_list
from service.headers.filenames import named_in, sanitise
from service.settings import Settings
from service.storage.workspace import JobFolder
from service.threads import HASHING, SMALL, SMALL_BYTES, WRITING
from service.uploads.multipart import Multipart
from service.uploads.upload_headers import MULTIPART, media_type_of

_BATCH_BYTES = 4 << 20
"""Bytes passed to the threads at once. One batch is received while another one is written, so an
upload takes twice this much memory. With 1 MiB, switching threads and reallocating memory cost 50 %
more CPU time."""
_BATCH_PIECES = 256
"""Most pieces in a batch: a client may send single bytes, each an object of 40 bytes."""


@dataclass(frozen=True)
class Upload:
    """A checkpoint that has been received.

    Attributes:
        filename: Its name, made safe, or none if the client gave none.
        bytes: Its size.
        sha256: The digest of its bytes, in hexadecimal.
        fields: Name and value of each form field.
    """

    filename: str | None
    bytes: int
    sha256: str
    fields: list[tuple[str, str]]


async def receive(
    request: Request, folder: JobFolder, names: list[str], settings: Settings
) -> Upload:
    """Write the checkpoint of a request to its place beside the folder of its job.

    Args:
        request: The request; its body must be unread.
        folder: The folder of the job.
        names: The form fields that are allowed.
        settings: The limits on size and time.

    Raises:
        MalformedRequestError: If the body cannot be parsed.
        NotACheckpointError: If the checkpoint is empty.
        DigestMismatchError: If the body does not match `Content-Digest`.
        OptionError: If a form field is not allowed.
        UploadTooLargeError: If the checkpoint is larger than allowed.
        StorageFullError: If it does not fit into the quota.
        UploadTooSlowError: If the upload stalls, or takes too long.
        OSError: If the checkpoint cannot be written.
        ClientDisconnect: If the client disconnects.
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
    """Hash a batch in one thread and write it in another, while the next batch is received."""
    keeping: asyncio.Future[list[BaseException | None]] | None = None
    try:
        async for batch in batches:
            pieces = body.unpack(batch)
            if keeping is not None:
                _raise_first(await asyncio.shield(keeping))
            keeping = _keep(body, pieces, batch)
    finally:
        # A thread cannot be cancelled, and the file must stay open until it is done.
        if keeping is not None:
            await completed(asyncio.wait({keeping}))
    if keeping is not None:
        _raise_first(keeping.result())


def _keep(
    body: _Body, pieces: list[bytes], batch: list[bytes]
) -> asyncio.Future[list[BaseException | None]]:
    """Begin to write and to hash a batch: at once, or in one thread if it is small."""
    promised = batch if body.digest.is_promised else []
    if sum(map(len, batch)) <= SMALL_BYTES:
        work = [SMALL.run(body.write_and_hash, pieces, promised)]
    else:
        work = [WRITING.run(body.write, pieces), HASHING.run(body.hash, pieces, promised)]
    # Otherwise it ends with the first thread that fails.
    return asyncio.gather(*work, return_exceptions=True)


def _raise_first(results: Iterable[BaseException | None]) -> None:
    """Raise the first error of the threads, if there is one."""
    for error in results:
        if error is not None:
            raise error


class _Body:
    """Parses, hashes and writes one body."""

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
        self.file = folder.upload.open("xb", buffering=0)

    def unpack(self, batch: list[bytes]) -> list[bytes]:
        """Return the bytes of the checkpoint in a batch, as pieces, without joining them."""
        take = self._multipart.write if self._multipart else self._keep
        for data in batch:
            take(data)
        pieces, self._pieces = self._pieces, []
        return pieces

    def _keep(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise UploadTooLargeError.beyond(self._max_bytes)
        self._folder.take(len(data))
        self._pieces.append(data)

    def hash(self, pieces: list[bytes], batch: list[bytes]) -> None:
        """Update the checkpoint's digest by pieces, and the digest of the body by the batch."""
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

    def write_and_hash(self, pieces: list[bytes], batch: list[bytes]) -> None:
        """Write pieces of the checkpoint, and update the digests."""
        self.write(pieces)
        self.hash(pieces, batch)

    def finish(self) -> Upload:
        """Check that the body is complete, and return its checkpoint."""
        self.digest.check()
        filename, fields = named_in(self._headers.get("content-disposition", "")), []
        if self._multipart:
            self._multipart.close()
            filename, fields = self._multipart.filename, self._multipart.fields
        if not self._bytes:
            raise NotACheckpointError("The checkpoint is empty.")
        name = sanitise(filename) if filename else None
        return Upload(name, self._bytes, self._sha256.hexdigest(), fields)


async def _batches(request: Request, idle_s: float) -> AsyncIterator[list[bytes]]:
    """Yield the body in batches that are large enough to be worth switching threads."""
    batch: list[bytes] = []
    batch_bytes = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise UploadTooSlowError(
                f"No bytes arrived for {idle_s:g} s.", remedy="Raise CONVLAST_CLIENT_IDLE_S."
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
