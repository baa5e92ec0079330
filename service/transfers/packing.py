"""A folder as one tar, so that a job has one file, however many its checkpoint has.

The service writes such a tar, and a worker makes another one of it, with the same names in the same
order. That one is not trusted: its headers are not parsed, but compared with what they must be.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.errors import WorkerCrashedError

_BLOCK_BYTES = tarfile.BLOCKSIZE
_END_BYTES = 2 * _BLOCK_BYTES

_FIELD_PLACE = slice(124 - _BLOCK_BYTES, 136 - _BLOCK_BYTES)
"""Where the last block of a header has the size."""

_FIELD = re.compile(rb"([0-7]{11})\0")
_RECORD = re.compile(rb" size=([0-9]{1,19})\n")
"""The size where it is too large for the field: a record before that block has it then."""

_MOST_BYTES = (1 << 63) - 1


@dataclass(frozen=True)
class Member:
    """A file in a tar.

    Attributes:
        name: Its path in the folder.
        place: Where its bytes are in the tar.
    """

    name: str
    place: range


def placed(sizes: Iterable[tuple[str, int]]) -> list[Member]:
    """Return where each file goes, given the names and sizes of all.

    >>> [member.place for member in placed([("a", 3), ("b", 0)])]
    [range(512, 515), range(1536, 1536)]
    """
    members, end = [], 0
    for name, size_bytes in sizes:
        start = end + len(_header(name, size_bytes))
        members.append(Member(name, range(start, start + size_bytes)))
        end = _padded(start + size_bytes)
    return members


def packed_bytes(members: list[Member]) -> int:
    """Return the size of the tar.

    >>> packed_bytes(placed([("a", 3)]))
    2048
    """
    return (_padded(members[-1].place.stop) if members else 0) + _END_BYTES


@contextmanager
def packed(path: Path, members: list[Member]) -> Iterator[int]:
    """Make a tar of zeros; it is removed if anything goes wrong.

    Yields:
        The descriptor of the tar.

    Raises:
        OSError: If it cannot be written.
    """
    with path.open("x+b") as file:
        try:
            file.truncate(packed_bytes(members))
            yield file.fileno()
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def write_headers(tar: int, members: list[Member]) -> None:
    """Write what stands before each file of a tar.

    Raises:
        OSError: If that is not possible.
    """
    for member in members:
        header = _header(member.name, len(member.place))
        os.pwrite(tar, header, member.place.start - len(header))


def names_in(path: Path) -> list[str]:
    """Return the names of the files in a tar that the service has made."""
    with tarfile.open(path, "r:") as tar:
        return tar.getnames()


def members_in(path: Path, names: Iterable[str]) -> list[Member]:
    """Return where the files are in a tar that a worker has made.

    Args:
        path: The tar.
        names: The names that it must have, in this order, and no other ones.

    Raises:
        WorkerCrashedError: If it is another tar, or none.
        OSError: If it cannot be read.
    """
    members, end = [], 0
    with path.open("rb", buffering=0) as file:
        for name in names:
            start, size_bytes = _found(file.fileno(), end, name)
            members.append(Member(name, range(start, start + size_bytes)))
            end = _padded(start + size_bytes)
        if os.fstat(file.fileno()).st_size != end + _END_BYTES:
            raise WorkerCrashedError.nonsense()
    return members


def _found(file: int, at: int, name: str) -> tuple[int, int]:
    """Return where the bytes of a file begin, and how many there are.

    Raises:
        WorkerCrashedError: If its header is not there.
    """
    header = os.pread(file, len(_header(name, _MOST_BYTES)), at)
    in_field = _FIELD.fullmatch(header[: len(_header(name, 0))][_FIELD_PLACE])
    in_record = _RECORD.search(header)
    for told, base in ((in_field, 8), (in_record, 10)):
        if told is not None:
            size_bytes = int(told[1], base)
            if header.startswith(expected := _header(name, size_bytes)):
                return at + len(expected), size_bytes
    raise WorkerCrashedError.nonsense()


def _header(name: str, size_bytes: int) -> bytes:
    """Return what stands before a file, as convlast writes it: without times and owners."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size_bytes, 0o644
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _padded(position: int) -> int:
    """Return where the next block begins.

    >>> [_padded(position) for position in (0, 1, 512)]
    [0, 512, 512]
    """
    return -(-position // _BLOCK_BYTES) * _BLOCK_BYTES
