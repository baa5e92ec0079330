"""The zip that answers a conversion, unpacked while it arrives.

The service stores the members uncompressed and states their sizes in front of them, so each byte is
written once, to its place. `zipfile` would need the whole zip as a file first: twice the room, and
a second pass. Nothing in the zip becomes a path; the names only tell the report from the artifact.

Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 and 4.5.3
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from convlast.progress import Progress

REPORT = "report.json"
MAX_REPORT_BYTES = 256 << 20
"""Above the report of a checkpoint with as many tensors as the limits allow."""

_LOCAL, _DIRECTORY = b"PK\3\4", b"PK\1\2"
_HEADER = struct.Struct("<4s5H3I2H")
_EXTRA, _SIZES = struct.Struct("<2H"), struct.Struct("<2Q")
_ENCRYPTED_OR_SIZES_LATER = 0x9
_STORED = 0
_IN_EXTRA = 0xFFFFFFFF
_ZIP64 = 1


class NotTheAnswerError(Exception):
    """The bytes are not the zip that the service sends."""


class CutOffError(Exception):
    """The bytes end before the zip does."""


@dataclass(frozen=True)
class Received:
    """What was received.

    Attributes:
        report: The report as JSON.
        sha256: The SHA-256 of the artifact, in hexadecimal.
    """

    report: bytes
    sha256: str


def receive(
    chunks: Iterable[bytes], artifact: IO[bytes], max_bytes: int | None, progress: Progress
) -> Received:
    """Write the artifact into a file, and return the report.

    Args:
        chunks: The zip as it arrives.
        artifact: The file.
        max_bytes: No member can be larger: the size of the zip, if it is known.
        progress: Called with the stage `download`.

    Raises:
        NotTheAnswerError: If this is not an artifact and then its report.
        CutOffError: If it ends too early.
    """
    stream = _Stream(chunks)
    members = _members(stream, max_bytes)
    # In this order; the page that follows is not needed.
    sha256 = _write(stream, _next_size(members), artifact, progress)
    report = stream.read(_next_size(members, REPORT))
    for _, nbytes in members:
        deque(stream.pieces(nbytes), maxlen=0)
    return Received(report, sha256)


def _next_size(members: Iterator[tuple[bytes, int]], name: str | None = None) -> int:
    """Return the size of the next member, which may have to have this name."""
    found, nbytes = next(members, (b"", 0))
    if not found or (found == REPORT.encode()) != (name == REPORT):
        raise NotTheAnswerError("a zip without an artifact and its report")
    if name == REPORT and nbytes > MAX_REPORT_BYTES:
        raise NotTheAnswerError(f"a report of {nbytes:,} bytes")
    return nbytes


def _write(stream: _Stream, nbytes: int, file: IO[bytes], progress: Progress) -> str:
    """Write the next bytes into a file; return their SHA-256."""
    digest, done = hashlib.sha256(), 0
    for piece in stream.pieces(nbytes):
        file.write(piece)
        digest.update(piece)
        done += len(piece)
        progress("download", done, nbytes)
    return digest.hexdigest()


class _Stream:
    """Bytes that arrive in chunks of any size."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def pieces(self, nbytes: int) -> Iterator[memoryview]:
        """Yield the next bytes, in pieces.

        Raises:
            CutOffError: If there are fewer.
        """
        while nbytes:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise CutOffError(f"{nbytes:,} bytes are missing")
                self._rest = memoryview(chunk)
            piece, self._rest = self._rest[:nbytes], self._rest[nbytes:]
            nbytes -= len(piece)
            yield piece

    def read(self, nbytes: int) -> bytes:
        """Return the next bytes."""
        return b"".join(self.pieces(nbytes))

    def finish(self) -> None:
        """Take the end, so that the connection can be used again."""
        next(self._chunks, None)


def _members(stream: _Stream, max_bytes: int | None) -> Iterator[tuple[bytes, int]]:
    """Yield the name and size of each member; its bytes must be taken before the next one."""
    while (header := stream.read(_HEADER.size))[:4] == _LOCAL:
        _, _, flags, method, _, _, _, packed, nbytes, name_bytes, extra_bytes = _HEADER.unpack(
            header
        )
        name, extra = stream.read(name_bytes), stream.read(extra_bytes)
        if nbytes == packed == _IN_EXTRA:
            nbytes, packed = _sizes_in(extra)
        if method != _STORED or flags & _ENCRYPTED_OR_SIZES_LATER or nbytes != packed:
            raise NotTheAnswerError("a zip of another kind")
        if max_bytes is not None and nbytes > max_bytes:
            raise NotTheAnswerError(f"a member of {nbytes:,} bytes in a zip of {max_bytes:,}")
        yield name, nbytes
    if header[:4] != _DIRECTORY:
        raise NotTheAnswerError("no zip")
    stream.finish()


def _sizes_in(extra: bytes) -> tuple[int, int]:
    """Return the sizes in the extra field of a member of 4 GiB or more."""
    position = 0
    while position + _EXTRA.size <= len(extra):
        kind, nbytes = _EXTRA.unpack_from(extra, position)
        position += _EXTRA.size
        if kind == _ZIP64 and nbytes >= _SIZES.size and position + _SIZES.size <= len(extra):
            size, packed = _SIZES.unpack_from(extra, position)
            return size, packed
        position += nbytes
    raise NotTheAnswerError("a zip of another kind")
