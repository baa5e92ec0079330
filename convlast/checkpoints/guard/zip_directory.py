"""The directory of a zip checkpoint, checked before anything is loaded.

torch reads members as raw bytes at an offset. So each member must be stored uncompressed, have a
name of its own, lie inside the file, and not overlap others; otherwise torch, Python and `unzip`
would each read something different.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from convlast.bytes.digest import crc32
from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1
_KNOWN_FLAGS = 0x080E
"""UTF-8 names, sizes after the data, and two bits that mean nothing for stored members."""
_FOLDER = 0x10
"""The MS-DOS attribute of a folder: torch reads no data of a member that has it."""


class ZipMember(NamedTuple):
    """One member of an archive.

    Attributes:
        offset: Where its bytes start in the file.
        nbytes: How many bytes there are.
        crc: The CRC-32 in the directory; None if the writer left it out, as torch does under
            `set_crc32_options(False)`.
        inflated_bytes: How many bytes it has when it is unpacked; None if it is not compressed.
    """

    offset: int
    nbytes: int
    crc: int | None
    inflated_bytes: int | None = None

    @property
    def unpacked_bytes(self) -> int:
        """How many bytes `Archive.read` returns."""
        return self.nbytes if self.inflated_bytes is None else self.inflated_bytes


@dataclass(frozen=True)
class Archive:
    """A zip file whose members are all under one root folder.

    Attributes:
        path: The file.
        root: The name of that folder.
        members: Each member by its name below the root, in the order of the directory.
        max_read_bytes: The largest member that `read` accepts.
    """

    path: Path
    root: str
    members: dict[str, ZipMember]
    max_read_bytes: int = Limits().max_pickle_bytes

    def read(self, name: str) -> bytes:
        """Return the bytes of a small member, unpacked if it is compressed.

        Raises:
            MalformedCheckpointError: If there is no such member, or it is cut short or damaged.
            LimitExceededError: If it is too large.
        """
        member = self.members.get(name)
        if member is None:
            raise MalformedCheckpointError(f"The archive has no member {name!r}.")
        found_bytes = max(member.nbytes, member.unpacked_bytes)
        if found_bytes > self.max_read_bytes:
            raise LimitExceededError(
                f"Member {name!r} is large",
                limit="max_pickle_bytes",
                allowed=self.max_read_bytes,
                found=found_bytes,
            )
        with self.path.open("rb") as file:
            data = os.pread(file.fileno(), member.nbytes, member.offset)
        if len(data) != member.nbytes:
            raise MalformedCheckpointError(f"Member {name!r} is cut short.")
        if member.inflated_bytes is not None:
            data = _inflated(data, member.inflated_bytes, name)
        if member.crc not in {None, crc32(data)}:
            raise MalformedCheckpointError(
                f"Member {name!r} is damaged: its CRC is not the one stated.",
                remedy="Fetch the file anew from where it came.",
            )
        return data


def member_names(path: Path) -> list[str]:
    """Return the names in a zip file's directory.

    Raises:
        MalformedCheckpointError: If there is no directory, or it cannot be read.
    """
    with open_zip(path) as archive:
        return archive.namelist()


def read_directory(path: Path, limits: Limits, *, is_program: bool = False) -> Archive:
    """Read the directory of a zip checkpoint and check each member against the file.

    Args:
        path: The file.
        limits: The limits to enforce.
        is_program: Whether members may be compressed, as a program's code is.

    Raises:
        MalformedCheckpointError: If a member is compressed, encrypted, named twice, outside the
            root folder or the file, has a name that leads elsewhere, or shares bytes with another.
        LimitExceededError: If there are more members than `max_members`, or if they are larger
            than their compressed bytes by more than `max_expanded_bytes`.
    """
    with open_zip(path) as archive, path.open("rb") as file:
        entries = archive.infolist()
        if len(entries) > limits.max_members:
            raise LimitExceededError(
                "The archive has many members",
                limit="max_members",
                allowed=limits.max_members,
                found=len(entries),
            )
        if is_program:
            _refuse_expansion(entries, limits)
        _refuse_paths(entries)
        root = _root_of(entries)
        members: dict[str, ZipMember] = {}
        for entry in entries:
            name = entry.filename.removeprefix(f"{root}/")
            if name in members:
                raise MalformedCheckpointError(f"Member {entry.filename!r} is there twice.")
            members[name] = _checked(entry, file, is_program=is_program)
        refuse_overlaps(members, end=archive.start_dir)
    return Archive(path, root, members, limits.max_pickle_bytes)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file and read its directory.

    Raises:
        MalformedCheckpointError: If there is no directory, or it cannot be read.
    """
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise MalformedCheckpointError(
            f"The zip archive has no readable directory ({error}).",
            remedy="It is probably truncated: compare its size with the original's.",
        ) from error


def _refuse_paths(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse names that lead out of the folder into which a client unpacks an artifact."""
    for entry in entries:
        name = entry.orig_filename
        is_above = ".." in name and ".." in name.split("/")
        if is_above or name.startswith("/") or "\\" in name or "\0" in name:
            raise MalformedCheckpointError(f"Member {name!r} has a name that leads elsewhere.")


def _root_of(entries: list[zipfile.ZipInfo]) -> str:
    roots = {entry.filename.split("/", 1)[0] for entry in entries if "/" in entry.filename}
    flat = [entry.filename for entry in entries if "/" not in entry.filename]
    if len(roots) != 1 or flat:
        raise MalformedCheckpointError(
            f"A checkpoint has one root folder; this archive has {sorted(roots)[:4] + flat[:4]}."
        )
    return roots.pop()


def _refuse_expansion(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    found = sum(max(entry.file_size - entry.compress_size, 0) for entry in entries)
    if found > limits.max_expanded_bytes:
        raise LimitExceededError(
            "The archive's members are larger than their compressed bytes",
            limit="max_expanded_bytes",
            allowed=limits.max_expanded_bytes,
            found=found,
        )


def _checked(entry: zipfile.ZipInfo, file: IO[bytes], *, is_program: bool) -> ZipMember:
    """Check that a member is stored uncompressed, and find it; a program's may be compressed."""
    if is_program and entry.compress_type == zipfile.ZIP_DEFLATED:
        return find_member(entry, file)._replace(inflated_bytes=entry.file_size)
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise MalformedCheckpointError(
            f"Member {entry.filename!r} is compressed; PyTorch reads its bytes raw.",
            remedy="Load the checkpoint where it came from and save it anew with torch.save.",
        )
    return find_member(entry, file)


def _inflated(data: bytes, nbytes: int, name: str) -> bytes:
    """Unpack the data of a member, of which it must have so many bytes."""
    try:
        unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, nbytes + 1)
    except zlib.error as error:
        raise MalformedCheckpointError(f"Member {name!r} is damaged: {error}.") from error
    if len(unpacked) != nbytes:
        raise MalformedCheckpointError(f"Member {name!r} does not have the size stated.")
    return unpacked


def find_member(entry: zipfile.ZipInfo, file: IO[bytes]) -> ZipMember:
    """Return where the stored bytes of a member are.

    Raises:
        MalformedCheckpointError: If it is encrypted or not marked as stored bytes, or has no header
            with its name in the file.
    """
    if entry.flag_bits & _ENCRYPTED:
        raise MalformedCheckpointError(
            f"Member {entry.filename!r} is encrypted.", remedy="Pack it anew without a password."
        )
    if entry.flag_bits & ~_KNOWN_FLAGS or (entry.file_size and entry.external_attr & _FOLDER):
        raise MalformedCheckpointError(
            f"Member {entry.filename!r} is marked as something other than stored bytes."
        )
    name, descriptor = entry.orig_filename.encode("utf-8"), file.fileno()
    header = b""
    if 0 <= entry.header_offset < os.fstat(descriptor).st_size:
        header = os.pread(descriptor, _LOCAL_HEADER.size + len(name), entry.header_offset)
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise MalformedCheckpointError(f"Member {entry.filename!r} has no header in the file.")
    *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(header)
    found = header[_LOCAL_HEADER.size :]
    if len(name) != name_bytes:
        found = os.pread(descriptor, name_bytes, entry.header_offset + _LOCAL_HEADER.size)
    if found != name and found != entry.orig_filename.encode("cp437", "replace"):
        raise MalformedCheckpointError(
            f"Member {entry.filename!r} has another name in its own header."
        )
    offset = entry.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    return ZipMember(offset, entry.compress_size, entry.CRC or None)


def refuse_overlaps(members: dict[str, ZipMember], end: int) -> None:
    """Refuse members that share bytes, or reach into the directory.

    A member without bytes cannot share any.

    Raises:
        MalformedCheckpointError: If there are such members.
    """
    reached = 0
    for name, member in sorted(members.items(), key=lambda item: item[1].offset):
        if member.nbytes and member.offset < reached:
            raise MalformedCheckpointError(f"Member {name!r} shares bytes with another.")
        reached = max(reached, member.offset + member.nbytes)
    if reached > end:
        raise MalformedCheckpointError("The archive's members reach past its directory.")
