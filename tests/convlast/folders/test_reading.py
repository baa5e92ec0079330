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


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    """To files and to folders, in the folder and out of it; each is a file or folder of its own."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0123").write_bytes(b"blob")
    (folder / "to a blob").symlink_to("../blobs/0123")
    (folder / "to a file").symlink_to("a.txt")
    (folder / "to a folder").symlink_to("b")
    (folder / "out of it").symlink_to(tmp_path / "blobs")
    with open_folder(folder, tmp_path, Limits()) as opened:
        names = {"to a blob", "to a file", "to a folder/c.bin", "to a folder/empty"}
        assert opened.members.keys() - SMALL.keys() == names | {"out of it/0123"}
        assert b"".join(opened.chunks("to a blob")) == b"blob"
        assert opened.head("to a folder/c.bin") == SMALL["b/c.bin"][:4096]
        assert opened.bare == ["b", "bare", "out of it", "to a folder"]
        assert opened.left_out == {}


def test_what_cannot_be_copied_is_left_out(folder: Path, tmp_path: Path) -> None:
    """Links to nothing, to themselves or to a folder around them, and pipes, which never end."""
    for name, target in {
        "nothing": "nowhere", "itself": "itself", "b/loop": "..", "b/here": ".",
        "below a file": "a.txt/x", "annexed": ".git/annex/objects/x/y/SHA256E-s1--0.pt",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "b" / "pipe")
    with open_folder(folder, tmp_path, Limits()) as opened:
        assert set(opened.members) == set(SMALL)
        words = opened.left_out
    assert words.keys() == {
        "nothing", "itself", "b/loop", "b/here", "below a file", "annexed", "b/pipe",
    }  # fmt: skip
    assert "not there" in words["nothing"]
    assert "git annex get" in words["annexed"]
    assert "that it is in" in words["b/loop"]


def test_links_that_multiply_are_bounded(tmp_path: Path) -> None:
    """Folders that link twice to the next one would be more than any machine can list."""
    for number in range(30):
        (tmp_path / "model" / str(number)).mkdir(parents=True)
        for side in "ab":
            (tmp_path / "model" / str(number) / side).symlink_to(f"../{number + 1}")
    (tmp_path / "model" / "30").mkdir()
    with pytest.raises(LimitExceededError, match="max_files"):
        open_folder(tmp_path / "model", tmp_path, Limits())


def test_the_workplace_is_no_part_of_a_folder(folder: Path, tmp_path: Path) -> None:
    """Not even where a link leads to it: it is where the artifact is made."""
    (tmp_path / "beside" / "work").mkdir(parents=True)
    (tmp_path / "beside" / "work" / "made").write_bytes(b"")
    (folder / "link").symlink_to("../beside")
    with open_folder(folder, tmp_path / "beside" / "work", Limits()) as opened:
        assert set(opened.members) == set(SMALL)


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


class Pipe(io.BytesIO):
    """What an archive is streamed to: its headers cannot be changed afterwards."""

    def tell(self) -> int:
        """Refuse, as a pipe does."""
        raise OSError("a pipe has no position")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_streamed_zip_with_folders(method: int, tmp_path: Path) -> None:
    """Sizes stand after the data alone, and a folder, deflated, is two bytes."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        archive.writestr("model/", b"")
        archive.writestr("model/a.txt", b"a")
        archive.writestr("__MACOSX/model/._a.txt", b"\0\5\x16\7")
    path = tmp_path / "a.zip"
    path.write_bytes(pipe.getvalue())
    with open_folder(path, tmp_path, Limits()) as opened:
        assert set(opened.members) == {"model/a.txt", "__MACOSX/model/._a.txt"}
        assert opened.bare == ["model"]
        assert opened.read("model/a.txt") == b"a"


@pytest.mark.parametrize("system", [0, 3, 10])
def test_backslashes_in_a_zip_are_slashes(system: int, tmp_path: Path) -> None:
    """Some writers of Windows use them, and some of these say that they are of Unix."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"model\\": b"", "model\\vae\\a.txt": b"a", "b.txt": b"b"}.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system = system
            archive.writestr(entry, data)
    with open_folder(path, tmp_path, Limits()) as opened:
        assert set(opened.members) == {"model/vae/a.txt", "b.txt"}
        assert opened.bare == ["model"]
        assert opened.read("model/vae/a.txt") == b"a"


def test_a_zip_with_both_kinds_of_slashes_is_refused(tmp_path: Path) -> None:
    """A backslash may be a part of a name there; the message says what to do."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/a.txt", b"a")
        archive.writestr("model\\b.txt", b"b")
    with pytest.raises(MalformedCheckpointError, match=r"has a backslash.*Pack it anew"):
        open_folder(path, tmp_path, Limits())


@pytest.mark.parametrize(("raw", "name"), [("gewölbe".encode(), "gewölbe"), (b"\x82", "é")])
def test_names_in_utf_8_without_its_flag_are_read(raw: bytes, name: str, tmp_path: Path) -> None:
    """Names are UTF-8 where they can be, as macOS writes them; others are of code page 437."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x" * len(raw), b"a")
    path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
    with open_folder(path, tmp_path, Limits()) as opened:
        assert set(opened.members) == {name}
        assert opened.read(name) == b"a"


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
