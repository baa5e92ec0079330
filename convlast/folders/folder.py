"""A model folder of any kind: its files, each of which can be read as a stream of bytes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from convlast.containers.sniffing import HEAD_BYTES, FolderKind
from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FolderFile:
    """One file.

    Attributes:
        name: Its path in the folder, with `/` between the parts.
        nbytes: Its size.
    """

    name: str
    nbytes: int


class Folder:
    """A model folder whose names have been checked.

    Attributes:
        kind: Its kind: one of `convlast.containers.sniffing.FOLDERS`.
        path: Where it is.
        members: Its files, by their paths.
        bare: The paths of its folders; for an archive, those that it lists.
        left_out: Why something in it is no member, by its path: to follow "because".
    """

    kind: FolderKind

    def __init__(self, path: Path, workplace: Path | None, limits: Limits) -> None:
        """Begin with no members; `workplace` may be None if the members are files already."""
        self.path, self.limits = path, limits
        self.members: dict[str, FolderFile] = {}
        self.bare: list[str] = []
        self.left_out: dict[str, str] = {}
        self._workplace = workplace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close open files."""

    @property
    def is_archive(self) -> bool:
        """Whether it is one file."""
        return self.path.is_file()

    @property
    def nbytes(self) -> int:
        """The size of all files together."""
        return sum(member.nbytes for member in self.members.values())

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member in pieces of at most a megabyte.

        Raises:
            MalformedCheckpointError: If it is damaged, or its size is not the declared one.
        """
        raise NotImplementedError

    def head(self, name: str) -> bytes:
        """Return the first bytes of a member, enough to recognise its format."""
        return next(self.chunks(name), b"")[:HEAD_BYTES]

    def read(self, name: str) -> bytes:
        """Return all bytes of a small member.

        Raises:
            LimitExceededError: If it is larger than `max_header_bytes`.
        """
        nbytes = self.members[name].nbytes
        if nbytes > self.limits.max_header_bytes:
            raise LimitExceededError(
                f"File {name!r} is large",
                limit="max_header_bytes",
                allowed=self.limits.max_header_bytes,
                found=nbytes,
            )
        return b"".join(self.chunks(name))

    def copy(self, name: str, target: IO[bytes]) -> str:
        """Write a member into an open file; return the SHA-256 of its bytes."""
        digest = hashlib.sha256()
        for chunk in self.chunks(name):
            digest.update(chunk)
            target.write(chunk)
        return digest.hexdigest()

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a member's bytes."""
        digest = hashlib.sha256()
        for chunk in self.chunks(name):
            digest.update(chunk)
        return digest.hexdigest()

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """Yield the path of a member as a file, which exists within the context."""
        with tempfile.TemporaryDirectory(dir=self._workplace, prefix="member-") as folder:
            path = Path(folder, "member")
            with path.open("wb") as file:
                for chunk in self.chunks(name):
                    file.write(chunk)
            yield path


def refuse_misfit(name: str, nbytes: int, found: int) -> None:
    """Refuse a member whose size is not the declared one.

    Raises:
        MalformedCheckpointError: If the sizes differ.
    """
    if nbytes != found:
        raise MalformedCheckpointError(
            f"Member {name!r} has {found:,} bytes, where {nbytes:,} are announced.",
            remedy="Fetch the archive anew from where it came.",
        )


def refuse_unpacked(nbytes: int, limits: Limits) -> None:
    """Refuse an archive that is too large when it is unpacked.

    Raises:
        LimitExceededError: If it is larger than `max_unpacked_bytes`.
    """
    if nbytes > limits.max_unpacked_bytes:
        raise LimitExceededError(
            "The archive is large when it is unpacked",
            limit="max_unpacked_bytes",
            allowed=limits.max_unpacked_bytes,
            found=nbytes,
        )
