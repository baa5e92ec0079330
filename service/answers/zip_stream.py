"""The zip that answers a conversion: uncompressed members, laid out before a byte is sent.

Sizes and CRCs are in the local headers, without data descriptors, so that a client can unpack the
archive while it receives it. Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LOCAL, _CENTRAL = 0x04034B50, 0x02014B50
_END, _END_64, _LOCATOR_64 = 0x06054B50, 0x06064B50, 0x07064B50
_MAX_32, _MAX_16 = 0xFFFFFFFF, 0xFFFF
_UTF_8_NAME = 0x0800
_REGULAR_FILE_0644 = 0o100644 << 16
# 1 January 1980, the first date of zip: the same conversion gives the same bytes at any time.
_TIME, _DATE = 0, 0x21


@dataclass(frozen=True)
class StoredMember:
    """A file on disk that becomes a member of the archive.

    Attributes:
        name: Its name in the archive.
        path: Its path on disk.
        size_bytes: Its size.
        crc32: Its CRC, as `zlib.crc32` computes it.
    """

    name: str
    path: Path
    size_bytes: int
    crc32: int

    @property
    def _is_large(self) -> bool:
        return self.size_bytes >= _MAX_32

    def local_header(self) -> bytes:
        """Return the header before the bytes of the member."""
        name = self.name.encode()
        extra = (
            struct.pack("<HHQQ", 1, 16, self.size_bytes, self.size_bytes) if self._is_large else b""
        )
        return self._fixed(_LOCAL, b"", name, extra) + name + extra

    def central_header(self, offset: int) -> bytes:
        """Return the entry in the central directory for a member at `offset`."""
        name = self.name.encode()
        large = [self.size_bytes, self.size_bytes] if self._is_large else []
        if offset >= _MAX_32:
            large.append(offset)
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        made_by_unix = struct.pack("<H", 0x032D)
        tail = struct.pack("<HHHII", 0, 0, 0, _REGULAR_FILE_0644, min(offset, _MAX_32))
        return self._fixed(_CENTRAL, made_by_unix, name, extra) + tail + name + extra

    def _fixed(self, signature: int, made_by: bytes, name: bytes, extra: bytes) -> bytes:
        """Return the fields that both headers share; compression method 0 means stored."""
        size = min(self.size_bytes, _MAX_32)
        needed = 45 if extra else 20
        return (
            struct.pack("<I", signature)
            + made_by
            + struct.pack("<HHHHH", needed, _UTF_8_NAME, 0, _TIME, _DATE)
            + struct.pack("<IIIHH", self.crc32, size, size, len(name), len(extra))
        )


def lay_out(members: Sequence[StoredMember]) -> list[bytes | Path]:
    """Return the pieces of the archive in order: headers as bytes, and members as paths."""
    pieces: list[bytes | Path] = []
    directory = b""
    offset = 0
    for member in members:
        header = member.local_header()
        directory += member.central_header(offset)
        pieces += [header, member.path]
        offset += len(header) + member.size_bytes
    pieces.append(directory + _end(len(members), len(directory), offset))
    return pieces


def _end(count: int, size: int, offset: int) -> bytes:
    """Return the end of the archive, for a directory of `size` bytes that starts at `offset`."""
    end_64 = b""
    if offset >= _MAX_32:
        end_64 = struct.pack(
            "<IQHHIIQQQQ", _END_64, 44, 0x032D, 45, 0, 0, count, count, size, offset
        ) + struct.pack("<IIQI", _LOCATOR_64, 0, offset + size, 1)
    return end_64 + struct.pack(
        "<IHHHHIIH",
        *(_END, 0, 0, min(count, _MAX_16), min(count, _MAX_16)),
        *(min(size, _MAX_32), min(offset, _MAX_32), 0),
    )
