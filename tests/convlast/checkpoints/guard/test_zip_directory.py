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
