"""A zip archive that torch, Python and `unzip` would each read differently."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile

from tests.builders import rezip
from tests.hostile.parts import central_header, local_header, patched, sound


def deflated() -> bytes:
    """Return an archive whose members are compressed: mapped, they are garbage."""
    return rezip(sound(), lambda _, data: data, zipfile.ZIP_DEFLATED)


def duplicate_member() -> bytes:
    """Return an archive with two members of one name."""
    buffer = io.BytesIO(sound())
    with zipfile.ZipFile(buffer, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/0", bytes(8 * 3 * 27 * 4))
    return buffer.getvalue()


def encrypted() -> bytes:
    """Return an archive that says a member is encrypted."""

    def change(data: bytearray) -> None:
        data[central_header(data, "archive/data/0") + 8] |= 1

    return patched(sound(), change)


def marked_as_patch() -> bytes:
    """Return an archive that says a member is a patch, which torch does not read."""

    def change(data: bytearray) -> None:
        data[central_header(data, "archive/data/0") + 8] |= 0x20

    return patched(sound(), change)


def marked_as_folder() -> bytes:
    """Return an archive whose storage is marked as a folder: torch leaves its memory unset."""

    def change(data: bytearray) -> None:
        data[central_header(data, "archive/data/0") + 38] |= 0x10

    return patched(sound(), change)


def other_local_name() -> bytes:
    """Return an archive whose directory and local header disagree on a name."""

    def change(data: bytearray) -> None:
        start = local_header(data, "archive/data/0") + 30
        data[start : start + 14] = b"archive/data/9"

    return patched(sound(), change)


def overlapping_members() -> bytes:
    """Return an archive in which one member begins inside another."""

    def change(data: bytearray) -> None:
        small, large = local_header(data, "archive/version"), local_header(data, "archive/data/0")
        nbytes = small - large
        header = central_header(data, "archive/data/0")
        struct.pack_into("<II", data, header + 20, nbytes, nbytes)

    return patched(sound(), change)


def member_outside_the_file() -> bytes:
    """Return an archive with a member that starts behind the end."""

    def change(data: bytearray) -> None:
        struct.pack_into("<I", data, central_header(data, "archive/data/0") + 42, 0x7FFFFFF0)

    return patched(sound(), change)


def member_of_64_bit_offset(offset: int) -> bytes:
    """Return an archive with a member that starts where no file reaches, by its zip64 field."""
    data = sound()
    start = central_header(data, "archive/version")
    entry = bytearray(data[start : start + 46 + 15])
    rest = data[start:]
    name_bytes, extra_bytes = struct.unpack_from("<HH", entry, 28)
    after = rest[46 + name_bytes + extra_bytes :]
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    extra = struct.pack("<HHQ", 1, 8, offset)
    struct.pack_into("<H", entry, 30, len(extra))
    changed = bytearray(data[:start] + entry[: 46 + name_bytes] + extra + after)
    end = changed.rindex(b"PK\x05\x06")
    size, where = struct.unpack_from("<II", changed, end + 12)
    struct.pack_into("<I", changed, end + 12, size + len(extra) - extra_bytes)
    assert where <= start
    del changed[_zip64_end(changed) : end]
    return bytes(changed)


def _zip64_end(data: bytearray) -> int:
    """Return where the zip64 end records begin, if there are some; else where the end does."""
    found = data.rfind(b"PK\x06\x06")
    return found if found >= 0 else data.rindex(b"PK\x05\x06")


def wrong_crc(member: str) -> bytes:
    """Return an archive in which one bit of a member is flipped."""

    def change(data: bytearray) -> None:
        header = local_header(data, f"archive/{member}")
        name_bytes, extra_bytes = struct.unpack_from("<HH", data, header + 26)
        data[header + 30 + name_bytes + extra_bytes + 40] ^= 1

    return patched(sound(), change)


def two_roots() -> bytes:
    """Return an archive with two root folders."""
    buffer = io.BytesIO(sound())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("other/data.pkl", b"\x80\x02N.")
    return buffer.getvalue()


def no_checkpoint() -> bytes:
    """Return a zip archive of something else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("holiday/photo.jpg", b"\xff\xd8")
    return buffer.getvalue()


def big_endian() -> bytes:
    """Return a checkpoint that a big-endian machine saved."""
    return rezip(sound(), lambda name, data: b"big" if name.endswith("byteorder") else data)


def only_a_pickle_in_the_root() -> bytes:
    """Return an archive with no member but data.pkl, outside any folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x02N.")
    return buffer.getvalue()


def a_pickle_one_folder_too_deep() -> bytes:
    """Return an archive whose data.pkl is below another folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl/", b"")
        archive.writestr("a/b/data.pkl", b"\x80\x02N.")
    return buffer.getvalue()
