"""Bytes go from file to file, in the kernel where it does that, and else through memory."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convlast.errors import MalformedCheckpointError, StorageFullError
from convlast.writing import copying
from convlast.writing.copying import copy_range, crc_of, write_exactly

DATA = bytes(range(256)) * 16_384  # four megabytes: several buffers


@contextmanager
def files(folder: Path) -> Iterator[tuple[int, int]]:
    """Open a file with data, and an empty one."""
    (folder / "source").write_bytes(DATA)
    with (folder / "source").open("rb") as source, (folder / "target").open("w+b") as target:
        yield source.fileno(), target.fileno()


@pytest.mark.parametrize(
    ("offset", "target_offset", "nbytes"),
    [(0, 0, len(DATA)), (7, 100, 2_500_001), (len(DATA), 0, 0), (1, 0, 1)],
)
@pytest.mark.parametrize("code", [None, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_a_range_is_copied(
    offset: int,
    target_offset: int,
    nbytes: int,
    code: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same bytes arrive, whatever the kernel answers."""

    def refused(*_: object) -> int:
        raise OSError(code, "refused")

    if code is not None:
        monkeypatch.setattr(os, "copy_file_range", refused)
    with files(tmp_path) as (source, target):
        copy_range(source, target, offset, target_offset, nbytes)
    copied = (tmp_path / "target").read_bytes()
    assert copied[target_offset:] == DATA[offset : offset + nbytes]


def test_a_copy_that_is_broken_off_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel may copy less than it is asked for, and then refuse to go on."""
    in_kernel, calls = os.copy_file_range, []

    def sometimes(source: int, target: int, count: int, start: int, where: int) -> int:
        calls.append(count)
        if len(calls) > 3:
            raise OSError(errno.EXDEV, "other file system")
        return in_kernel(source, target, min(count, 1000), start, where)

    monkeypatch.setattr(os, "copy_file_range", sometimes)
    with files(tmp_path) as (source, target):
        copy_range(source, target, 0, 0, len(DATA))
    assert (tmp_path / "target").read_bytes() == DATA
    assert len(calls) == 4


@pytest.mark.parametrize("in_kernel", [True, False])
def test_a_source_that_ends_too_early(
    in_kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the file's fault, and no copy goes on without end."""
    if not in_kernel:
        monkeypatch.setattr(copying, "_NOT_IN_KERNEL", {errno.EIO})

        def refused(*_: object) -> int:
            raise OSError(errno.EIO, "refused")

        monkeypatch.setattr(os, "copy_file_range", refused)
    with files(tmp_path) as (source, target), pytest.raises(MalformedCheckpointError):
        copy_range(source, target, len(DATA) - 10, 0, 11)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_file_system(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as such, whoever met it first."""

    def full(*_: object) -> int:
        raise OSError(code, "full")

    with files(tmp_path) as (source, target):
        monkeypatch.setattr(os, "copy_file_range", full)
        with pytest.raises(StorageFullError):
            copy_range(source, target, 0, 0, 10)
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StorageFullError):
            write_exactly(target, memoryview(b"data"), 0)


def test_other_trouble_is_not_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails is not a disk that is full."""

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "copy_file_range", broken)
    with files(tmp_path) as (source, target), pytest.raises(OSError, match="broken"):
        copy_range(source, target, 0, 0, 10)


def test_a_write_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short writes are carried on with."""
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, where: whole(file, data[:3], where))
    with files(tmp_path) as (_, target):
        write_exactly(target, memoryview(b"0123456789"), 2)
    assert (tmp_path / "target").read_bytes() == b"\0\x000123456789"


def test_a_crc(tmp_path: Path) -> None:
    """It is zlib's, of just that range."""
    with files(tmp_path) as (source, _):
        assert crc_of(source, 5, 3_000_000) == zlib.crc32(DATA[5:3_000_005])
        assert crc_of(source, 5, 0) == 0
        with pytest.raises(MalformedCheckpointError):
            crc_of(source, len(DATA) - 1, 2)
