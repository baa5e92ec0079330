"""The digests of a file, and the CRC that is stated of a part of one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from convlast.crc import crc32
from convlast.errors import MalformedCheckpointError

PIECE_BYTES = 1 << 18
"""Small enough for a processor's cache, large enough that hashing lets other threads run."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_and_crc32_of(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file's bytes, in hexadecimal, and their CRC-32, in one pass."""
    sha256, crc = hashlib.sha256(), 0
    buffer = memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            sha256.update(buffer[:count])
            crc = crc32(buffer[:count], crc)
    return sha256.hexdigest(), crc


def require_crc(member: str, stated: int | None, found: int) -> None:
    """Refuse data that has not the CRC that is stated of it, if one is.

    Raises:
        MalformedCheckpointError: If it has not.
    """
    if stated not in {None, found}:
        raise MalformedCheckpointError(
            f"The data of {member!r} is damaged: its CRC is not the one stated.",
            remedy="Fetch the file anew from where it came.",
        )
