"""The file that is written is one that torch, Python and `unzip` read alike."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

import convlast
from convlast.containers import open_checkpoint, read_manifest
from convlast.options import Options
from convlast.writing.skeleton import root_name
from tests import builders
from tests.exactness import restrided

QUIET = Options(smoke="none")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A converted checkpoint."""
    source = builders.save(builders.nested_wrappers(), tmp_path / "source.pt")
    convlast.convert(source, tmp_path / "target.pt", QUIET)
    return tmp_path / "target.pt"


def test_every_crc_is_right(artifact: Path) -> None:
    """Python reads each member and finds no fault; none is compressed."""
    with zipfile.ZipFile(artifact) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.skipif(shutil.which("unzip") is None, reason="no unzip on this machine")
def test_unzip_finds_no_fault(artifact: Path) -> None:
    """Nor does the program, which reads local headers and data descriptors too."""
    result = subprocess.run(["unzip", "-t", artifact], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "No errors detected" in result.stdout


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_it(mmap: bool, artifact: Path) -> None:
    """Mapped or read, with the strides in it."""
    root = torch.load(artifact, weights_only=True, mmap=mmap)
    weight = root["models"][0]["net"]["conv.weight"]
    assert weight.stride() == (81, 1, 27, 9, 3)
    assert torch.equal(weight, builders.numbered(*builders.SHAPE))


def test_data_is_aligned(artifact: Path) -> None:
    """As torch aligns it, so that a mapped tensor starts at a multiple of 64 bytes."""
    checkpoint = open_checkpoint(artifact)
    assert {stored.offset % 64 for _, stored in checkpoint.storages.values()} == {0}


def test_the_manifest_says_what_was_done(artifact: Path) -> None:
    """Each layer's strides, before and after, with the version that wrote it."""
    manifest = read_manifest(artifact)
    assert manifest is not None
    assert manifest.convlast == convlast.__version__
    assert [layer.name for layer in manifest.layers] == [
        "models.0.net.conv.weight",
        "models.1.net.weight",
    ]
    assert manifest.layers[0].stride_before == (81, 27, 9, 3, 1)
    assert manifest.layers[0].stride_after == (81, 1, 27, 9, 3)


def test_a_second_conversion_keeps_what_the_first_one_noted(tmp_path: Path) -> None:
    """Layer by layer, or all at once: an undo leads back to the very beginning."""
    weight = builders.numbered(*builders.SHAPE).permute(1, 0, 2, 3, 4).contiguous()
    weight = weight.permute(1, 0, 2, 3, 4)
    source = builders.save({"a.weight": weight, "b.weight": weight.clone()}, tmp_path / "0")
    for step, options in enumerate(
        [
            Options.parse(smoke="none", select="a.*"),
            QUIET,
            Options(smoke="none", memory_format="contiguous_format"),
        ]
    ):
        convlast.convert(tmp_path / str(step), tmp_path / str(step + 1), options)
    assert restrided(source, tmp_path / "3") == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model", "model"),
        ("my model.v2+", "my model.v2+"),
        ("-odd", "archive"),
        (".hidden", "archive"),
        ("x" * 200, "archive"),
    ],
)
def test_the_root_is_the_input_s_own_or_archive(name: str, expected: str, tmp_path: Path) -> None:
    """A root folder with a plain name is kept; any other becomes `archive`."""
    saved = builders.save(builders.one_convolution(), tmp_path / "saved.pt")
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "old.zip", "w") as new:
        for member in old.namelist():
            new.writestr(f"{name}/{member.partition('/')[2]}", old.read(member))
    checkpoint = open_checkpoint(tmp_path / "old.zip")
    assert root_name(checkpoint) == expected
    convlast.convert(tmp_path / "old.zip", tmp_path / "new.pt", QUIET)
    with zipfile.ZipFile(tmp_path / "new.pt") as archive:
        assert {member.split("/")[0] for member in archive.namelist()} == {expected}


def test_other_uses_of_torch_save_see_no_change(tmp_path: Path) -> None:
    """The tagger that writes device tags answers only while an artifact is written."""
    source = builders.save_from("cuda:0", builders.one_convolution(), tmp_path / "source.pt")
    convlast.convert(source, tmp_path / "target.pt", QUIET)
    torch.save(torch.load(source, map_location="cpu", weights_only=True), tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as archive:
        assert b"cuda" not in archive.read("plain/data.pkl")
