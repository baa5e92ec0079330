"""The zip that answers a conversion: stored members, laid out before a byte is sent.

Sizes and CRCs stand in the local headers, there are no data descriptors, and so a reader may take
the archive apart while it still comes in. Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
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
# 1 January 1980, the zero of zip: the same conversion gives the same bytes at any time.
_TIME, _DATE = 0, 0x21


@dataclass(frozen=True)
class StoredMember:
    """A file on disk, on its way into the archive.

    Attributes:
        name: Its name in the archive.
        path: Where it lies.
        size_bytes: Its size.
        crc32: Its CRC, as `zlib.crc32` gives it.
    """

    name: str
    path: Path
    size_bytes: int
    crc32: int

    @property
    def _is_large(self) -> bool:
        return self.size_bytes >= _MAX_32

    def local_header(self) -> bytes:
        """Write what stands before the bytes of the member."""
        name = self.name.encode()
        extra = (
            struct.pack("<HHQQ", 1, 16, self.size_bytes, self.size_bytes) if self._is_large else b""
        )
        return self._fixed(_LOCAL, b"", name, extra) + name + extra

    def central_header(self, offset: int) -> bytes:
        """Write the entry of the directory for a member at `offset`."""
        name = self.name.encode()
        large = [self.size_bytes, self.size_bytes] if self._is_large else []
        if offset >= _MAX_32:
            large.append(offset)
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        made_by_unix = struct.pack("<H", 0x032D)
        tail = struct.pack("<HHHII", 0, 0, 0, _REGULAR_FILE_0644, min(offset, _MAX_32))
        return self._fixed(_CENTRAL, made_by_unix, name, extra) + tail + name + extra

    def _fixed(self, signature: int, made_by: bytes, name: bytes, extra: bytes) -> bytes:
        """Write what both headers share; method 0 is stored."""
        size = min(self.size_bytes, _MAX_32)
        needed = 45 if extra else 20
        return (
            struct.pack("<I", signature)
            + made_by
            + struct.pack("<HHHHH", needed, _UTF_8_NAME, 0, _TIME, _DATE)
            + struct.pack("<IIIHH", self.crc32, size, size, len(name), len(extra))
        )


def lay_out(members: Sequence[StoredMember]) -> list[bytes | Path]:
    """Give the archive as its pieces in order: headers as bytes, and files."""
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
    """Write what stands after the directory, which has `size` bytes and starts at `offset`."""
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
