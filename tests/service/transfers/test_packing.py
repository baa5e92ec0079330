"""A folder as one tar, and the tar that a worker makes of it."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convlast.folders.output import TarOutput
from service.errors import WorkerCrashedError
from service.transfers.packing import (
    Member,
    members_in,
    names_in,
    packed,
    packed_bytes,
    placed,
    write_headers,
)

NAMES = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\"), min_size=1
).filter(lambda name: name not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=1500), max_size=5)


def pack(path: Path, files: dict[str, bytes]) -> list[Member]:
    """Write a tar with these files."""
    path.unlink(missing_ok=True)
    members = placed((name, len(content)) for name, content in files.items())
    with packed(path, members) as tar:
        write_headers(tar, members)
        for member in members:
            os.pwrite(tar, files[member.name], member.place.start)
    return members


def bytes_of(path: Path, members: list[Member]) -> dict[str, bytes]:
    """Return the files in a tar."""
    whole = path.read_bytes()
    return {each.name: whole[each.place.start : each.place.stop] for each in members}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES)
def test_a_tar_has_what_was_packed(tmp_path: Path, files: dict[str, bytes]) -> None:
    """For the standard library, which knows nothing of this one, and for this one."""
    path = tmp_path / "folder.tar"
    members = pack(path, files)
    assert path.stat().st_size == packed_bytes(members)
    assert names_in(path) == [*files]
    with tarfile.open(path, "r:") as tar:
        for entry in tar:
            content = tar.extractfile(entry)
            assert content is not None
            assert content.read() == files[entry.name]
    assert members_in(path, files) == members
    assert bytes_of(path, members) == files


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES)
def test_the_tar_of_a_worker_is_read(tmp_path: Path, files: dict[str, bytes]) -> None:
    """It is what the library writes for a tar, with whatever sizes."""
    path, made = tmp_path / "made.tar", tmp_path / "made"
    path.unlink(missing_ok=True)
    output = TarOutput(path)
    for name, content in files.items():
        made.write_bytes(content)
        output.add(name, made)
    output.close()
    assert bytes_of(path, members_in(path, files)) == files


def test_a_file_may_be_larger_than_a_field_of_a_header(tmp_path: Path) -> None:
    """From 8 GiB on its size is in a record; the sizes here are those of holes."""
    path, sizes = tmp_path / "large.tar", {"a" * 200: 1 << 33, "b": (1 << 33) - 1, "c": 10**13}
    members = placed(sizes.items())
    with packed(path, members) as tar:
        write_headers(tar, members)
    assert members_in(path, sizes) == members


WRONG: dict[str, dict[str, bytes]] = {
    "another name": {"a": b"1", "c": b"2"},
    "a name that leads elsewhere": {"a": b"1", "../b": b"2"},
    "another order": {"b": b"2", "a": b"1"},
    "a file too few": {"a": b"1"},
    "a file too many": {"a": b"1", "b": b"2", "c": b"3"},
    "nothing": {},
}


@pytest.mark.parametrize("files", WRONG.values(), ids=WRONG)
def test_another_tar_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    """A worker may have been taken over: it decides bytes, and neither names nor their number."""
    pack(tmp_path / "made.tar", files)
    with pytest.raises(WorkerCrashedError):
        members_in(tmp_path / "made.tar", ["a", "b"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_a_link_is_refused(tmp_path: Path, kind: bytes) -> None:
    """It would be no file of this name."""
    entry = tarfile.TarInfo("a")
    entry.type, entry.linkname, entry.mode = kind, "/etc/passwd", 0o644
    (tmp_path / "made.tar").write_bytes(entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(WorkerCrashedError):
        members_in(tmp_path / "made.tar", ["a"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoilt=st.integers(0, 2047), byte=st.integers(0, 255), end=st.integers(0, 3072))
def test_a_spoilt_tar_is_refused_or_has_its_files(
    tmp_path: Path, spoilt: int, byte: int, end: int
) -> None:
    """Whatever a worker writes, the names stay, and no byte comes from outside of the tar."""
    path = tmp_path / "made.tar"
    pack(path, {"a": b"1" * 600, "b": b"2"})
    whole = bytearray(path.read_bytes())
    whole[spoilt] = byte
    path.write_bytes(whole[:end] if end < 2048 else whole)
    try:
        members = members_in(path, ["a", "b"])
    except WorkerCrashedError:
        return
    assert [each.name for each in members] == ["a", "b"]
    assert all(each.place.stop <= path.stat().st_size for each in members)


def test_a_tar_that_cannot_be_finished_is_removed(tmp_path: Path) -> None:
    """Such as when its store is away."""
    with pytest.raises(OSError, match="away"), packed(tmp_path / "folder.tar", []):
        raise OSError("away")
    assert list(tmp_path.iterdir()) == []
