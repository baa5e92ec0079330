"""A file on its way to the service."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from anyio import from_thread, open_file, to_thread

from convlast.bytes.digest import sha256_of

_CHUNK_BYTES = 1 << 20


async def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; reading it can be cancelled."""
    return await to_thread.run_sync(sha256_of, path, lambda _: from_thread.check_cancelled())


def digest_field(sha256: str) -> str:
    """Return a digest as a value of `Content-Digest`.

    Source: RFC 9530

    >>> digest_field("00" * 32)
    'sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:'
    """
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


class Upload:
    """The bytes of a file, as they are sent."""

    def __init__(self, path: Path, nbytes: int, told: Callable[[int], None]) -> None:
        """Send nothing yet.

        Args:
            path: The file.
            nbytes: Its size.
            told: Called with the number of bytes that were sent.
        """
        self.nbytes = nbytes
        self._path, self._told = path, told
        self._sent_s = time.monotonic()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        done = 0
        self._told(done)
        async with await open_file(self._path, "rb") as file:
            while piece := await file.read(_CHUNK_BYTES):
                yield piece
                done += len(piece)
                self._sent_s = time.monotonic()
                self._told(done)

    def waited_s(self) -> float:
        """Return the time since the last piece was sent."""
        return time.monotonic() - self._sent_s
