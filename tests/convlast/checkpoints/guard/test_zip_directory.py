"""The directory of a zip checkpoint is read and checked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import pytest

from convlast.checkpoints.guard.zip_directory import member_names, read_directory
from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits
from tests import builders


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of two storages."""
    return builders.save(builders.one_convolution(), tmp_path / "model.pt")


def test_members_are_where_they_are_said_to_be(path: Path) -> None:
    """Each offset, size and CRC is that of the bytes that Python's zipfile reads."""
    archive = read_directory(path, Limits())
    data = path.read_bytes()
    assert archive.root == "model"
    with zipfile.ZipFile(path) as zipped:
        assert [f"model/{name}" for name in archive.members] == zipped.namelist()
        for name, member in archive.members.items():
            expected = zipped.read(f"model/{name}")
            assert data[member.offset : member.offset + member.nbytes] == expected
            assert member.crc in {None, zlib.crc32(expected)}
            assert archive.read(name) == expected


def test_a_member_that_is_not_there(path: Path) -> None:
    """A missing member is refused by its name."""
    with pytest.raises(MalformedCheckpointError, match="'nothing'"):
        read_directory(path, Limits()).read("nothing")


def test_a_file_that_shrinks_meanwhile(path: Path) -> None:
    """A member that ends too early is refused, and not taken for a shorter one."""
    archive = read_directory(path, Limits())
    with path.open("r+b") as file:
        file.truncate(archive.members["data.pkl"].offset + 3)
    with pytest.raises(MalformedCheckpointError, match="cut short"):
        archive.read("data.pkl")


def deflated(path: Path, content: bytes) -> Path:
    """Write an archive with one compressed member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("root/member", content)
    return path


@pytest.mark.parametrize("content", [b"", b"a" * 10_000, bytes(range(256))])
def test_a_compressed_member_of_a_program_is_unpacked(content: bytes, tmp_path: Path) -> None:
    """Its bytes are those that Python's zipfile reads."""
    archive = read_directory(deflated(tmp_path / "a.pt", content), Limits(), is_program=True)
    assert archive.members["member"].unpacked_bytes == len(content)
    assert archive.read("member") == content


def test_a_compressed_member_is_no_larger_than_it_says(tmp_path: Path) -> None:
    """Whatever its bytes would unpack to, no more than its stated size is unpacked."""
    path = deflated(tmp_path / "a.pt", bytes(1 << 20))
    content = path.read_bytes()
    path.write_bytes(content.replace((1 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    archive = read_directory(path, Limits(), is_program=True)
    with pytest.raises(MalformedCheckpointError, match="the size stated"):
        archive.read("member")


def test_a_damaged_compressed_member_is_refused(tmp_path: Path) -> None:
    """Whether its bytes cannot be unpacked, or are others than they were."""
    path = deflated(tmp_path / "a.pt", bytes(range(256)) * 10)
    archive = read_directory(path, Limits(), is_program=True)
    content = bytearray(path.read_bytes())
    for position in range(20):
        damaged = bytearray(content)
        damaged[archive.members["member"].offset + position] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(MalformedCheckpointError, match=r"damaged|size stated"):
            archive.read("member")


def test_a_compressed_member_that_is_large_when_unpacked_is_refused(tmp_path: Path) -> None:
    """By its stated size, before it is unpacked."""
    path = deflated(tmp_path / "a.pt", bytes(1 << 20))
    archive = read_directory(path, Limits(max_pickle_bytes=1 << 16), is_program=True)
    with pytest.raises(LimitExceededError, match="max_pickle_bytes"):
        archive.read("member")


def test_many_members(path: Path) -> None:
    """Too many members are refused, and the message has their number and the limit."""
    with pytest.raises(LimitExceededError, match="max_members allows 3"):
        read_directory(path, Limits(max_members=3))


def test_a_root_with_a_strange_name(tmp_path: Path) -> None:
    """A root folder may have any name, since torch names it after the file."""
    path = builders.save(builders.one_convolution(), tmp_path / "my model (1).ckpt.pt")
    archive = read_directory(path, Limits())
    assert archive.root == "my model (1).ckpt"
    assert f"{archive.root}/data.pkl" in member_names(path)
