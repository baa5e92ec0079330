"""A file on its way to the service."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

from convlast.bytes.digest import sha256_of
from convlast.progress import Progress

_CHUNK_BYTES = 1 << 20


def headers_of(path: Path) -> dict[str, str]:
    """Return the fields that describe a file."""
    digest = base64.b64encode(bytes.fromhex(sha256_of(path))).decode()
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(path.stat().st_size),
        "Content-Digest": f"sha-256=:{digest}:",
    }


class Upload:
    """The bytes of a file, as they are sent."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._sent_s = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        total = self._path.stat().st_size
        done = 0
        with self._path.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                yield piece
                done += len(piece)
                self._sent_s = time.monotonic()
                self._progress("upload", done, total)

    def waited_s(self) -> float:
        """Return the time since the last piece was sent."""
        return time.monotonic() - self._sent_s
