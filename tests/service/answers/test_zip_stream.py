from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.answers import zip_stream as archive
from service.answers.zip_stream import StoredMember, lay_out


def build(folder: Path, files: dict[str, bytes]) -> bytes:
    """Write files, and an archive of them."""
    members = []
    for index, (name, content) in enumerate(files.items()):
        path = folder / str(index)
        path.write_bytes(content)
        members.append(StoredMember(name, path, len(content), zlib.crc32(content)))
    return b"".join(
        piece if isinstance(piece, bytes) else piece.read_bytes() for piece in lay_out(members)
    )


@given(contents=st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_zipfile_reads_what_was_laid_out(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    """`zipfile` finds each member uncompressed, with its name and a correct CRC."""
    files = {f"modèle {index}.pt": content for index, content in enumerate(contents)}
    archived = zipfile.ZipFile(io.BytesIO(build(tmp_path_factory.mktemp("zip"), files)))
    assert archived.testzip() is None
    assert {info.filename: archived.read(info) for info in archived.infolist()} == files
    for info in archived.infolist():
        assert info.compress_type == zipfile.ZIP_STORED
        assert not info.flag_bits & 0x08, "a data descriptor"


def test_local_headers_hold_size_and_crc(tmp_path: Path) -> None:
    """The first bytes of the archive tell the size of the first member."""
    head = build(tmp_path, {"a.pt": b"content"})[:30]
    flags, method, crc32, stored, size = struct.unpack("<4x2xHH4xIII4x", head)
    assert (flags & 0x08, method) == (0, 0)
    assert (crc32, stored, size) == (zlib.crc32(b"content"), 7, 7)


def test_archives_are_deterministic(tmp_path: Path) -> None:
    """The same files always give the same archive."""
    (tmp_path / "again").mkdir()
    files = {"a": b"1", "b": b"2"}
    assert build(tmp_path, files) == build(tmp_path / "again", files)


def test_zip64_beyond_four_gigabytes(tmp_path: Path) -> None:
    """A sparse member of five gigabytes, and one after it, can be read."""
    size_bytes = (5 << 30) + 3
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(size_bytes)
    small = tmp_path / "small"
    small.write_bytes(b"behind")
    members = [
        StoredMember("large.pt", large, size_bytes, 0),
        StoredMember("report.json", small, 6, zlib.crc32(b"behind")),
    ]
    target = tmp_path / "archive.zip"
    with target.open("wb") as file:
        for piece in lay_out(members):
            if isinstance(piece, bytes):
                file.write(piece)
            elif piece == large:
                file.seek(size_bytes, os.SEEK_CUR)
            else:
                file.write(piece.read_bytes())
    with zipfile.ZipFile(target) as archived:
        assert [info.file_size for info in archived.infolist()] == [size_bytes, 6]
        assert archived.read("report.json") == b"behind"
        with archived.open("large.pt") as member:
            assert member.read(4) == bytes(4)


def test_zip64_for_many_bytes_of_small_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes and offsets beyond the limit, lowered here, get zip64 fields."""
    monkeypatch.setattr(archive, "_MAX_32", 50)
    data = build(tmp_path, {"a": b"x" * 60, "b": b"y"})
    assert struct.pack("<I", 0x06064B50) in data
    assert struct.pack("<HHQQ", 1, 16, 60, 60) in data
