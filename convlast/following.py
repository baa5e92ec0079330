"""A file that is being written, read once behind its writer: digested, and compared.

Each byte is compared with the one of the input that it came from while both are in the
processor's cache. What was found to be the same is named by where it lies in both files, so that
the proof, which asks PyTorch where the tensors of the written file lie, need not read it again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import torch

from convlast.checkpoints.checkpoint import Scratch, read_exactly, tensor_over
from convlast.crc import crc32
from convlast.digest import PIECE_BYTES, require_crc
from convlast.permutation import Restriding
from convlast.pieces import equal_bytes


@dataclass(frozen=True)
class Part:
    """A part of a file that is being written.

    Attributes:
        nbytes: Its size; None for all the rest of the file.
        crc: The CRC-32 that is stated of it and was not checked yet, if one is.
        member: What it is called where it came from, for messages.
        origin: Where its bytes lie in the input, if they come from there.
        restriding: What became of their order; None if it is the same.
    """

    nbytes: int | None
    crc: int | None = None
    member: str = ""
    origin: int | None = None
    restriding: Restriding | None = None


@dataclass(frozen=True)
class Match:
    """Bytes of a file that were read, and are those of the input.

    Attributes:
        origin: Where they lie in the input.
        offset: Where they lie in the file.
        nbytes: How many there are.
        restriding: The order that the elements have in both; None if the bytes are the same.
    """

    origin: int
    offset: int
    nbytes: int
    restriding: Restriding | None = None


@dataclass(frozen=True)
class Followed:
    """What was found of a file.

    Attributes:
        sha256: The digest of its bytes, in hexadecimal.
        crc32: Their CRC-32.
        matches: Which of them are the input's.
    """

    sha256: str
    crc32: int
    matches: frozenset[Match]


class Following:
    """The reading of one file, in another thread, while it may still be written."""

    def __init__(self, pool: Executor, source: int) -> None:
        """Begin with nothing.

        Args:
            pool: Where the file is read; it must have a thread to spare.
            source: The input, open, by descriptor.
        """
        self._pool, self._source = pool, source
        self._followed: Future[Followed] | None = None

    def begin(self, path: Path, parts: Iterable[Part]) -> None:
        """Begin to read a file; as `follow` for the rest."""
        self._followed = self._pool.submit(follow, path, parts, self._source)

    def result(self) -> Followed:
        """Return what was found, when the file was read.

        Raises:
            MalformedCheckpointError: As `follow`.
        """
        assert self._followed is not None, "begin comes first"  # noqa: S101  # for mypy
        return self._followed.result()


def follow(path: Path, parts: Iterable[Part], source: int) -> Followed:
    """Read a file to its end, and say what is in it.

    Args:
        path: The file.
        parts: All that it consists of, in order; each is read when it is yielded, so that the
            file may still be growing.
        source: What its parts came from, open, by descriptor.

    Raises:
        MalformedCheckpointError: If a part has not the CRC that is stated of it, or the source
            ends before a part that came from it.
    """
    with path.open("rb", buffering=0) as file:
        reading = _Reading(file, source)
        for part in parts:
            reading.take(part)
        return reading.result()


class _Reading:
    """The reading of one file beside its source."""

    def __init__(self, file: FileIO, source: int) -> None:
        self._file, self._source = file, source
        self._sha256, self._crc = hashlib.sha256(), 0
        self._position = 0
        self._matches: set[Match] = set()
        self._after, self._before = Scratch(), Scratch()

    def take(self, part: Part) -> None:
        """Read one part: digest it, and compare it with where it came from."""
        start, crc = self._position, 0
        is_same = part.origin is not None
        for nbytes, restriding in _pieces_of(part):
            piece = self._read(nbytes)
            self._sha256.update(piece)
            self._crc = crc32(piece, self._crc)
            if part.crc is not None:
                crc = crc32(piece, crc)
            if is_same and part.origin is not None:
                origin = part.origin + self._position - start
                is_same = self._is_same(piece, origin, restriding)
            self._position += len(piece)
            if len(piece) < nbytes:
                break
        if part.crc is not None:
            require_crc(part.member, part.crc, crc)
        if is_same and part.origin is not None and part.nbytes == self._position - start:
            self._matches.add(Match(part.origin, start, part.nbytes, part.restriding))

    def _read(self, nbytes: int) -> memoryview:
        """Read the next bytes of the file; fewer where it ends."""
        piece, filled = self._after.take(nbytes), 0
        while filled < nbytes and (count := self._file.readinto(piece[filled:])):
            filled += count
        return piece[:filled]

    def result(self) -> Followed:
        """Return what was found."""
        return Followed(self._sha256.hexdigest(), self._crc, frozenset(self._matches))

    def _is_same(self, after: memoryview, origin: int, restriding: Restriding | None) -> bool:
        """Compare bytes with those of the input that they came from."""
        before = self._before.take(len(after))
        read_exactly(self._source, before, origin)
        if restriding is None:
            return equal_bytes(tensor_over(before, torch.uint8), tensor_over(after, torch.uint8))
        return restriding.relates(before, after)


def _pieces_of(part: Part) -> Iterator[tuple[int, Restriding | None]]:
    """Yield the sizes in which a part is read, each with the order of what is in it."""
    if part.restriding is not None:
        yield from ((piece.nbytes, piece) for piece in part.restriding.slices(PIECE_BYTES))
        return
    left = sys.maxsize if part.nbytes is None else part.nbytes
    while left:
        yield min(PIECE_BYTES, left), None
        left -= min(PIECE_BYTES, left)
