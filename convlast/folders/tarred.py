"""A model folder in a tar archive, which may be compressed by gzip.

A tar has no directory, so it is read from header to header. The standard library parses the
headers, from a file object that returns only one header at a time; the data is read without the
library, directly from its place in the file.
"""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from convlast.containers.sniffing import FolderKind
from convlast.errors import (
    MalformedCheckpointError,
    NotACheckpointError,
)
from convlast.folders.folder import (
    CHUNK_BYTES,
    Folder,
    FolderFile,
    refuse_misfit,
    refuse_unpacked,
)
from convlast.folders.member_names import Names, shown
from convlast.options import Limits
from convlast.progress import Progress, silent

_BLOCK_BYTES = 512
_MAX_HEADER_BYTES = 1 << 16
"""The largest header of a member, with its name and further records; far above any writer's."""

_LONG_NUMBER = re.compile(rb"[0-9]{1024}")
"""Numbers in a header for which the library would need quadratic time in their length."""

_MAX_RECORDS = 100
"""The most records for all members: the library copies them for each member. Git writes one."""

_STEP_BYTES = 64 << 20
"""How many bytes are unpacked between two calls of the progress."""

_OLD_TORCH = {"storages", "tensors", "pickle"}
"""The members of a checkpoint of PyTorch 0.1, which was a tar."""


class TarFolder(Folder):
    """A tar archive, with the position of each member."""

    kind: FolderKind = "tar-folder"

    def __init__(
        self, path: Path, workplace: Path, limits: Limits, progress: Progress = silent
    ) -> None:
        super().__init__(path, workplace, limits)
        self._offsets: dict[str, int] = {}
        with path.open("rb") as file:
            is_compressed = file.read(2) == b"\x1f\x8b"
        self._file = (
            _unpacked(path, workplace, limits, progress) if is_compressed else path.open("rb")
        )
        try:
            self._look_through()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the archive; this also deletes the file that it was unpacked to."""
        self._file.close()

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member in pieces."""
        nbytes, done = self.members[name].nbytes, 0
        while done < nbytes:
            wanted = min(CHUNK_BYTES, nbytes - done)
            chunk = os.pread(self._file.fileno(), wanted, self._offsets[name] + done)
            if not chunk:
                break
            done += len(chunk)
            yield chunk
        refuse_misfit(name, nbytes, done)

    def _look_through(self) -> None:
        """Check each member, and store its position."""
        names, unpacked_bytes = Names(self.limits), 0
        for entry in _entries(self._file):
            name = names.take(entry.name, is_folder=entry.isdir())
            _refuse_other_than_file(entry)
            if entry.isdir():
                self.bare += [name] if name else []
                continue
            self.members[name] = FolderFile(name, entry.size)
            self._offsets[name] = entry.offset_data
            unpacked_bytes += entry.size
            refuse_unpacked(unpacked_bytes, self.limits)
        if self.members.keys() >= _OLD_TORCH:
            raise NotACheckpointError(
                "This is a checkpoint of PyTorch 0.1, which no PyTorch of today opens safely.",
                remedy="Load it with torch.load(weights_only=False) where it came from, and save "
                "it anew with torch.save.",
            )


def _entries(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar in order, up to its end marker."""
    header = _Headers(file)
    reached = 0
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", header), mode="r:") as tar:
            while (entry := tar.next()) is not None:
                # Each member has a copy of all records, and is not needed again.
                tar.members.clear()  # type: ignore[attr-defined]  # it has them, by that name
                if len(tar.pax_headers) > _MAX_RECORDS:
                    raise MalformedCheckpointError(
                        "The tar archive has very many records that describe all its members.",
                        remedy="Pack it anew without: tar --format=ustar.",
                    )
                if entry.size < 0 or entry.offset < reached or entry.offset_data <= entry.offset:
                    raise MalformedCheckpointError(f"Member {shown(entry.name)} has no place.")
                reached = entry.offset_data + entry.size
                yield entry
            end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, OSError) as error:
        raise MalformedCheckpointError(
            f"The tar archive cannot be read: {type(error).__name__}: {str(error)[:200]}.",
            remedy="It is probably damaged: fetch it anew from where it came.",
        ) from error
    # The library takes a broken header for the end of the archive.
    if reached > os.fstat(file.fileno()).st_size or any(
        os.pread(file.fileno(), _BLOCK_BYTES, end) or [1]
    ):
        raise MalformedCheckpointError(
            "The tar archive ends without the mark of its end.",
            remedy="It is probably truncated: compare its size with the original's.",
        )


class _Headers:
    """A file that returns no more bytes at a time than the largest header."""

    def __init__(self, file: IO[bytes]) -> None:
        self.tell, self.seek = file.tell, file.seek
        self._file = file

    def read(self, nbytes: int) -> bytes:
        if nbytes > _MAX_HEADER_BYTES:
            raise MalformedCheckpointError("A member of the tar archive has a header of any size.")
        data = self._file.read(nbytes)
        if _LONG_NUMBER.search(data):
            raise MalformedCheckpointError(
                "A member of the tar archive has a number of any length in its header.",
                remedy="Pack it anew, under names that are not thousands of digits long.",
            )
        return data


def _unpacked(path: Path, workplace: Path, limits: Limits, progress: Progress) -> IO[bytes]:
    """Unpack a compressed archive into a temporary file without a name; return the file."""
    target = tempfile.TemporaryFile(dir=workplace)  # noqa: SIM115  # closed by its owner
    done = 0
    try:
        with gzip.open(path) as source:
            while chunk := source.read(CHUNK_BYTES):
                done += len(chunk)
                refuse_unpacked(done, limits)
                if done % _STEP_BYTES < CHUNK_BYTES:
                    progress("files", 0, done)
                target.write(chunk)
        target.flush()
        target.seek(0)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        target.close()
        raise MalformedCheckpointError(
            f"The compressed archive is damaged: {error}.",
            remedy="Fetch it anew from where it came.",
        ) from error
    except BaseException:
        target.close()
        raise
    return target


def _refuse_other_than_file(entry: tarfile.TarInfo) -> None:
    """Refuse links, devices, and sparse files, whose bytes are not stored one after the other."""
    if entry.isdir() or (entry.isreg() and not entry.issparse()):
        return
    what = "a link" if entry.issym() or entry.islnk() else "neither a file nor a folder"
    if entry.issparse():
        what = "a sparse file"
    raise MalformedCheckpointError(
        f"Member {shown(entry.name)} is {what}.",
        remedy="Pack it anew without, or with what it stands for: tar --hard-dereference -h.",
    )
