"""Bytes from file to file, without passing through this process where the kernel allows it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

from convlast.bytes.digest import crc32
from convlast.checkpoints.checkpoint import read_exactly
from convlast.errors import MalformedCheckpointError
from convlast.errors.full_disk import full_disk_translated

_BUFFER_BYTES = 1 << 20
_NOT_IN_KERNEL = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
"""What `copy_file_range` answers across file systems, and on old kernels and odd file systems."""


def copy_range(
    source: int, target: int, source_offset: int, target_offset: int, nbytes: int
) -> None:
    """Copy bytes between two open files, by descriptor.

    Raises:
        MalformedCheckpointError: If the source ends before.
        StorageFullError: If the target's file system is full.
    """
    copied = 0
    while copied < nbytes:
        try:
            with _full_disk_translated():
                count = os.copy_file_range(
                    source, target, nbytes - copied, source_offset + copied, target_offset + copied
                )
        except OSError as error:
            if error.errno not in _NOT_IN_KERNEL:
                raise
            for position, piece in _pieces(source, source_offset + copied, nbytes - copied):
                write_exactly(target, piece, target_offset + copied + position)
            return
        if count == 0:
            raise MalformedCheckpointError("The file ends inside the data of a tensor.")
        copied += count


def copy_with_crc(
    source: int, target: int, source_offset: int, target_offset: int, nbytes: int
) -> int:
    """Copy bytes between two open files through memory; return their CRC-32.

    Raises:
        MalformedCheckpointError: If the source ends before.
        StorageFullError: If the target's file system is full.
    """
    crc = 0
    for position, piece in _pieces(source, source_offset, nbytes):
        crc = crc32(piece, crc)
        write_exactly(target, piece, target_offset + position)
    return crc


def write_exactly(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of a buffer to a file, however many writes that takes.

    Raises:
        StorageFullError: If the file system is full.
    """
    written = 0
    with _full_disk_translated():
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], offset + written)


def crc_of(descriptor: int, offset: int, nbytes: int) -> int:
    """Return the CRC-32 of a range of a file.

    Raises:
        MalformedCheckpointError: If the file ends before.
    """
    crc = 0
    for _, piece in _pieces(descriptor, offset, nbytes):
        crc = crc32(piece, crc)
    return crc


def _pieces(descriptor: int, offset: int, nbytes: int) -> Iterator[tuple[int, memoryview]]:
    """Read a range of a file piece by piece; each is overwritten by the next one."""
    buffer = memoryview(bytearray(min(_BUFFER_BYTES, nbytes)))
    for position in range(0, nbytes, _BUFFER_BYTES):
        piece = buffer[: min(_BUFFER_BYTES, nbytes - position)]
        read_exactly(descriptor, piece, offset + position)
        yield position, piece


def _full_disk_translated() -> AbstractContextManager[None]:
    return full_disk_translated(remedy="Free room for an artifact as large as the input.")
