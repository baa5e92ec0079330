"""The digest of a file."""

from __future__ import annotations

import hashlib
from mmap import ACCESS_READ, mmap
from pathlib import Path

from convlast.crc import crc32

_PIECE_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_and_crc32_of(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file that is ours, in hexadecimal, and its CRC-32, in one pass.

    The file is mapped, which spares a copy; one that somebody else shortens meanwhile would end
    this process. It must not be empty.
    """
    sha256, crc = hashlib.sha256(), 0
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        for start in range(0, len(mapped), _PIECE_BYTES):
            with memoryview(mapped)[start : start + _PIECE_BYTES] as piece:
                sha256.update(piece)
                crc = crc32(piece, crc)
    return sha256.hexdigest(), crc
