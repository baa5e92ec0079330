from __future__ import annotations

import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from convlast.folders import open_folder
from convlast.folders.output import FolderOutput, PlainOutput, TarOutput, ZipOutput
from convlast.options import Limits
from tests.convlast.folders.building import files_in

OUTPUTS = [PlainOutput, ZipOutput, TarOutput]


def write(kind: type[FolderOutput], source: Path, target: Path) -> Path:
    """Write a new file, a copied one, and an empty folder."""
    made = source.parent / "made"
    made.write_bytes(b"made" * 200)
    with open_folder(source, source.parent, Limits()) as folder, closing(kind(target)) as output:
        output.add_bare("bare")
        output.add("a/" + "long" * 40 + "é.pt", made)
        output.copy(folder, "b.txt")
    return target


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a folder of one file."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "b.txt").write_bytes(b"b" * 1000)
    return tmp_path / "source"


@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_is_written_can_be_read(
    kind: type[FolderOutput], source: Path, tmp_path: Path
) -> None:
    """Written archives can be read again, with names, bytes and empty folders."""
    target = write(kind, source, tmp_path / "target")
    with open_folder(target, tmp_path, Limits()) as folder:
        found = {name: b"".join(folder.chunks(name)) for name in folder.members}
        assert "bare" in folder.bare
    assert found == {"a/" + "long" * 40 + "é.pt": b"made" * 200, "b.txt": b"b" * 1000}


@pytest.mark.parametrize("kind", [ZipOutput, TarOutput])
def test_the_same_files_give_the_same_bytes(
    kind: type[FolderOutput], source: Path, tmp_path: Path
) -> None:
    """The same files give the same bytes, without times and owners."""
    first, second = (write(kind, source, tmp_path / name).read_bytes() for name in ("1", "2"))
    assert first == second


def test_other_tools_read_the_zip(source: Path, tmp_path: Path) -> None:
    """Other tools read the zip: nothing is compressed, and each size precedes its bytes."""
    with zipfile.ZipFile(write(ZipOutput, source, tmp_path / "target")) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert not any(entry.flag_bits & 8 for entry in archive.infolist())


def test_other_tools_read_the_tar(source: Path, tmp_path: Path) -> None:
    """The standard library unpacks the tar."""
    with tarfile.open(write(TarOutput, source, tmp_path / "target")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert files_in(tmp_path / "unpacked")["b.txt"] == b"b" * 1000
    assert (tmp_path / "unpacked" / "bare").is_dir()
