"""A file is what its bytes say: neither its name nor that of one member decides."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import convlast
from convlast.containers import container_of, is_folder
from convlast.errors import (
    ConvlastError,
    MalformedCheckpointError,
    NotACheckpointError,
    UnsupportedContainerError,
)
from convlast.options import Options
from tests import builders
from tests.builders import rezip

QUIET = Options(smoke="none")


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    """Write a zip of members by their names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("first", ["data.pkl", "model.pt"])
@pytest.mark.parametrize("others", [{}, {"constants.pkl": b"x"}, {"version.txt": b"1"}])
@pytest.mark.parametrize("root", ["", "project/"])
def test_a_pickle_of_the_same_name_makes_no_checkpoint(
    root: str, others: dict[str, bytes], first: str, tmp_path: Path
) -> None:
    """A project with a `data.pkl` is a folder: PyTorch reads no archive without a version."""
    files = {
        "data.pkl": pickle.dumps({"mean": 0.5}),
        "model.pt": builders.save(builders.one_convolution(), tmp_path / "model.pt").read_bytes(),
    }
    files = {first: files.pop(first), **files, **others}
    path = zipped(tmp_path / "a.zip", {f"{root}{name}": data for name, data in files.items()})
    assert container_of(path) == "zip-folder"
    report = convlast.convert(path, tmp_path / "out.zip", QUIET)
    assert [layer.file for layer in report.layers] == [f"{root}model.pt"]


def test_what_torch_wrote_is_known_by_its_first_member(tmp_path: Path) -> None:
    """Packed anew, it is known by all of them."""
    path = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    assert not is_folder(path)
    path.write_bytes(rezip(path.read_bytes(), lambda _, data: data))
    assert not is_folder(path)
    assert container_of(path) == "torch"


@pytest.mark.filterwarnings("ignore")  # the packaging warns
def test_a_package_of_torch_is_named(tmp_path: Path) -> None:
    """Neither alone nor in a folder is it a folder of files; the message says what to save."""
    package: Any = torch.package  # whose names are not exported
    with package.PackageExporter(tmp_path / "a.pt") as exporter:
        exporter.save_pickle("model", "model.pkl", {"weight": torch.ones(2)})
    with pytest.raises(UnsupportedContainerError, match=r"torch\.package.*PackageImporter"):
        container_of(tmp_path / "a.pt")


def test_a_compiled_package_is_named(tmp_path: Path) -> None:
    """It is no program that could be allowed; one with an exported program in it is."""
    compiled = {"a/archive_format": b"pt2", "a/data/aotinductor/model/x.so": b"\x7fELF"}
    path = zipped(tmp_path / "a.pt2", compiled)
    with pytest.raises(UnsupportedContainerError, match=r"AOTInductor.*compiled from"):
        convlast.convert(path, tmp_path / "out.pt2", QUIET)
    path = zipped(tmp_path / "b.pt2", compiled | {"a/models/model.json": b"{}"})
    assert container_of(path) == "program"


def test_zips_one_after_the_other_are_named(tmp_path: Path) -> None:
    """The last one alone has a directory that is found, and is not the whole file."""
    data = builders.save(builders.one_convolution(), tmp_path / "model.pt").read_bytes()
    (tmp_path / "two.pt").write_bytes(data + data)
    for verb in (container_of, convlast.inspect):
        with pytest.raises(UnsupportedContainerError, match=r"several zip archives.*dcp_to_torch"):
            verb(tmp_path / "two.pt")


def test_a_large_zip_of_macos_is_named(tmp_path: Path) -> None:
    """Its directory has the remainders of offsets beyond 4 GiB."""
    path = zipped(tmp_path / "a.zip", {"model/a.bin": bytes(99)})
    data = path.read_bytes()
    start = data.index(b"PK\1\2")
    with path.open("r+b") as file:
        file.truncate(start + (1 << 32))
        file.seek(start + (1 << 32))
        file.write(data[start:])
    with pytest.raises(MalformedCheckpointError, match="Finder of macOS"):
        container_of(path)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s1--0\n", "git annex get"),
        (b"# xet version 0\nfilesize = 1\n", "git xet pull"),
        (b"outs:\n- md5: 0\n", "dvc pull"),
        (b"", "anew"),
        (b"Rar!\x1a\x07\x01", "Unpack it"),
        (b"PK\5\6" + bytes(18), "Pack it anew"),
        (b"PK\7\x08PK\3\4", "Join the parts"),
    ],
)
def test_a_file_that_stands_for_another_is_named(text: bytes, remedy: str, tmp_path: Path) -> None:
    """The remedy is the command that fetches the file itself, or what else gives a checkpoint."""
    path = tmp_path / "model.pt"
    path.write_bytes(text)
    with pytest.raises(NotACheckpointError) as refusal:
        container_of(path)
    assert remedy in refusal.value.remedy


def test_a_zip_with_bytes_before_it_is_named(tmp_path: Path) -> None:
    """A program that unpacks itself is one; the message says to unpack it."""
    path = zipped(tmp_path / "a.zip", {"a.txt": b"x"})
    path.write_bytes(b"MZ, or a script" + path.read_bytes())
    with pytest.raises(NotACheckpointError, match=r"zip archive with other bytes.*Unpack it"):
        container_of(path)


def end_of(path: Path) -> int:
    """Return where the end record of a zip begins."""
    return path.read_bytes().rindex(b"PK\5\6")


DAMAGE: dict[str, Callable[[bytearray, int], None]] = {
    "an offset behind the file": lambda data, end: struct.pack_into("<I", data, end + 16, 1 << 30),
    "a size of nothing": lambda data, end: struct.pack_into("<I", data, end + 12, 0),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_directory_that_cannot_be_read(kind: str, tmp_path: Path) -> None:
    """A damaged zip is refused, and by no other exception than ours."""
    path = zipped(tmp_path / "a.zip", {"a/b": b"x"})
    data = bytearray(path.read_bytes())
    DAMAGE[kind](data, end_of(path))
    path.write_bytes(data)
    with pytest.raises(ConvlastError):
        convlast.inspect(path)
