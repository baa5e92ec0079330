from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from convlast.errors import (
    LimitExceededError,
    MalformedCheckpointError,
    UnsupportedContainerError,
)
from convlast.folders import open_folder
from convlast.options import Limits
from tests.convlast.folders import building

SMALL = {"a.txt": b"a", "b/c.bin": bytes(range(256)) * 9000, "b/empty": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder of a few files, one of them of several chunks."""
    for name, data in SMALL.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "model" / "bare").mkdir()
    return tmp_path / "model"


@pytest.mark.parametrize("kind", ["folder", *building.PACKED])
def test_every_file_is_there_as_it_is(kind: str, folder: Path, tmp_path: Path) -> None:
    """Every file is read from a folder and each kind of archive, and no temporary file is left."""
    path = building.PACKED[kind](folder) if kind in building.PACKED else folder
    prefix = "model/" if kind == "tar.gz" else ""
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    with open_folder(path, workplace, Limits()) as opened:
        assert set(opened.members) == {prefix + name for name in SMALL}
        assert opened.nbytes == sum(map(len, SMALL.values()))
        assert f"{prefix}bare" in opened.bare
        for name, data in SMALL.items():
            member = prefix + name
            assert opened.members[member].nbytes == len(data)
            assert opened.head(member) == data[:4096]
            target = io.BytesIO()
            digest = hashlib.sha256(data).hexdigest()
            assert opened.copy(member, target) == opened.digest(member) == digest
            assert target.getvalue() == data
            with opened.as_file(member) as file:
                assert file.read_bytes() == data
    assert list(workplace.iterdir()) == []


def test_files_of_a_folder_are_in_the_order_of_their_paths(folder: Path, tmp_path: Path) -> None:
    """Files are sorted by path, so that the report is the same on every file system."""
    with open_folder(folder, tmp_path, Limits()) as opened:
        assert list(opened.members) == ["a.txt", "b/c.bin", "b/empty"]


def test_links_in_a_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    """Links in a folder are refused, and the message says how to resolve them."""
    for target in (folder / "a.txt", tmp_path, folder / "nothing"):
        link = folder / "link"
        link.symlink_to(target)
        with pytest.raises(MalformedCheckpointError, match=r"'link' is a link.*cp -rL"):
            open_folder(folder, tmp_path, Limits())
        link.unlink()


def test_pipes_in_a_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    """Pipes are refused, since opening one would wait forever."""
    os.mkfifo(folder / "b" / "pipe")
    with pytest.raises(MalformedCheckpointError, match="'b/pipe' is neither"):
        open_folder(folder, tmp_path, Limits())


def test_a_name_that_is_no_text_is_refused(folder: Path, tmp_path: Path) -> None:
    """A name that is not valid text is refused, because a report cannot contain it."""
    (folder / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(MalformedCheckpointError, match="UTF-8"):
        open_folder(folder, tmp_path, Limits())


@pytest.mark.parametrize("names", [("B", "b"), ("é", "e\u0301"), ("x/é", "x/e\u0301")])
def test_two_names_that_some_system_takes_for_one_are_refused(
    names: tuple[str, str], tmp_path: Path
) -> None:
    """Two names that a system may take for one are refused, in folders as in archives."""
    (tmp_path / "model" / "x").mkdir(parents=True)
    for name in names:
        (tmp_path / "model" / name).write_bytes(b"")
    for packed in (lambda folder: folder, building.packed_zip, building.packed_tar):
        path = packed(tmp_path / "model")
        with pytest.raises(MalformedCheckpointError, match="case does not count"):
            open_folder(path, tmp_path, Limits())


def test_folders_in_folders_are_bounded(tmp_path: Path) -> None:
    """The depth of folders is limited, in folders as in archives."""
    deepest = tmp_path / "model" / "/".join("d" * 33)
    deepest.mkdir(parents=True)
    for path in (tmp_path / "model", building.packed_tar(tmp_path / "model")):
        with pytest.raises(MalformedCheckpointError, match=r"deeper than 32|no file can have"):
            open_folder(path, tmp_path, Limits())


@pytest.mark.parametrize("kind", ["folder", *building.PACKED])
def test_the_number_of_files_is_bounded(kind: str, folder: Path, tmp_path: Path) -> None:
    """The number of files is limited, in folders too."""
    path = building.PACKED[kind](folder) if kind in building.PACKED else folder
    with pytest.raises(LimitExceededError) as refusal:
        open_folder(path, tmp_path, Limits(max_files=2))
    assert refusal.value.limit == "max_files"


@pytest.mark.parametrize("kind", building.PACKED)
def test_what_an_archive_unpacks_to_is_bounded(kind: str, folder: Path, tmp_path: Path) -> None:
    """The unpacked size is limited before or while an archive is unpacked."""
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    with pytest.raises(LimitExceededError) as refusal:
        open_folder(building.PACKED[kind](folder), workplace, Limits(max_unpacked_bytes=1 << 20))
    assert refusal.value.limit == "max_unpacked_bytes"
    assert "CONVLAST_MAX_UNPACKED_BYTES" in refusal.value.remedy
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("kind", building.PACKED)
def test_a_truncated_archive_is_refused(kind: str, folder: Path, tmp_path: Path) -> None:
    """A truncated archive is refused, and not taken for a smaller one."""
    path = building.PACKED[kind](folder)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MalformedCheckpointError):
        open_folder(path, tmp_path, Limits())


def test_a_tar_that_ends_between_two_files_is_refused(tmp_path: Path) -> None:
    """A tar without an end marker, which may have had more files, is refused."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_bytes(b"a" * 512)
    path = building.packed_tar(tmp_path / "model")
    path.write_bytes(path.read_bytes().rstrip(b"\0"))
    with pytest.raises(MalformedCheckpointError, match="mark of its end"):
        open_folder(path, tmp_path, Limits())


def test_a_damaged_member_of_a_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    """A member of a zip with a wrong CRC is refused."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"sound bytes")
    path.write_bytes(path.read_bytes().replace(b"sound", b"faulty"[:5]))
    with (
        open_folder(path, tmp_path, Limits()) as opened,
        pytest.raises(MalformedCheckpointError, match=r"'a\.txt' is damaged"),
    ):
        opened.digest("a.txt")


def test_an_unusual_compression_is_refused(tmp_path: Path) -> None:
    """An unusual compression is refused, with what to do."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.txt", b"x" * 100)
    with pytest.raises(UnsupportedContainerError, match="zip -0"):
        open_folder(path, tmp_path, Limits())


def test_a_file_that_changes_meanwhile_is_refused(folder: Path, tmp_path: Path) -> None:
    """A file whose size changes meanwhile is refused."""
    with open_folder(folder, tmp_path, Limits()) as opened:
        (folder / "a.txt").write_bytes(b"longer")
        with pytest.raises(MalformedCheckpointError, match="announced"):
            opened.digest("a.txt")
