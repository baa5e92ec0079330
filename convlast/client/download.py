"""Downloads an artifact; a download that was cut goes on with the missing bytes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from anyio import to_thread

from convlast.client.connection import Ask, Connection
from convlast.client.patience import Patience
from convlast.client.refusals import (
    RefusedError,
    cut_off,
    media_type_of,
    not_the_service,
)
from convlast.client.upload import digest_field
from convlast.errors import RemoteError
from convlast.progress import Progress
from convlast.report import Artifact

_CHUNK_BYTES = 1 << 20
_BYTES = "application/octet-stream"


class Received:
    """The file that is written, and the digest of its bytes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self.nbytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def take(self, piece: bytes) -> None:
        """Write the next bytes."""
        self._file.write(piece)
        self._digest.update(piece)
        self.nbytes += len(piece)

    def start_over(self) -> None:
        """Begin again with nothing."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.nbytes = 0

    def sha256(self) -> str:
        """Return the SHA-256 of all bytes, in hexadecimal."""
        return self._digest.hexdigest()


class Download:
    """The download of one artifact."""

    def __init__(
        self, connection: Connection, path: str, expected: Artifact, progress: Progress
    ) -> None:
        self._connection, self._path = connection, f"{path}/artifact"
        self._expected, self._progress = expected, progress
        self._etag = ""
        self._most_bytes = 0
        """The most bytes so far: a download that brings no more is given up after a while."""

    async def write(self, received: Received, patience: Patience) -> None:
        """Write the artifact, with its digest checked.

        Args:
            received: The file for it.
            patience: Bounds the repetitions that bring no further bytes.

        Raises:
            RemoteError: If the service refuses or does not answer, or the artifact is damaged.
            OSError: If it cannot be written.
        """
        self._progress("download", 0, self._expected.bytes)
        while received.nbytes < self._expected.bytes:
            try:
                async with self._connection.opened(self._ask(received)) as response:
                    await self._take(response, received)
            except RefusedError as refused:
                if received.nbytes > self._most_bytes:
                    self._most_bytes = received.nbytes
                    patience.reset()
                await patience.endure(refused.refusal)
        if received.sha256() != self._expected.sha256:
            raise _damaged()

    def _ask(self, received: Received) -> Ask:
        headers = {"Accept": f"{_BYTES}, */*;q=0.1"}
        if received.nbytes and self._etag:
            headers |= {"Range": f"bytes={received.nbytes}-", "If-Range": self._etag}
        return Ask("GET", self._path, headers=headers, expected=frozenset({200, 206}))

    async def _take(self, response: httpx.Response, received: Received) -> None:
        """Write the bytes of an answer.

        Raises:
            RefusedError: If they are not all that is missing.
        """
        self._check(response)
        if response.status_code == httpx.codes.OK:
            received.start_over()
        elif _start_of(response) != received.nbytes:
            received.start_over()  # and ask for the whole
            raise RefusedError(cut_off(self._expected.bytes))
        # A weak tag does not promise the same bytes.
        tag = response.headers.get("ETag", "")
        self._etag = tag if tag.startswith('"') else ""
        buffer = bytearray()
        try:
            async for piece in response.aiter_bytes():
                buffer += piece
                if len(buffer) >= _CHUNK_BYTES:
                    await self._keep(buffer, received)
                    buffer = bytearray()
        except httpx.RequestError:
            await self._keep(buffer, received)
            raise
        await self._keep(buffer, received)
        if received.nbytes < self._expected.bytes:
            raise RefusedError(cut_off(self._expected.bytes - received.nbytes))

    def _check(self, response: httpx.Response) -> None:
        """Refuse an answer that cannot be the artifact of the report."""
        if media_type_of(response) != _BYTES:
            raise not_the_service(response, media_type_of(response)[:80] or "something unknown")
        said = re.search(r"\bsha-256=:[^:]*:", response.headers.get("Repr-Digest", ""))
        if said is not None and said[0] != digest_field(self._expected.sha256):
            raise _damaged()

    async def _keep(self, piece: bytearray, received: Received) -> None:
        if received.nbytes + len(piece) > self._expected.bytes:
            raise _damaged()
        await to_thread.run_sync(received.take, bytes(piece))
        if piece:
            self._progress("download", received.nbytes, self._expected.bytes)


def _start_of(response: httpx.Response) -> int | None:
    """Return where the bytes of a partial answer begin; None if it does not say so."""
    said = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
    return int(said[1]) if said else None


def _damaged() -> RemoteError:
    return RemoteError(
        "digest-mismatch",
        "The artifact was damaged on the way: its SHA-256 is not the one in its report.",
    )
