"""The metadata of safetensors files, in artifacts of another kind and back again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

import convlast
from convlast.checkpoints import metadata
from convlast.options import Options
from convlast.report import Report
from tests import builders

AUTHORED = {"config": json.dumps({"vae": {"patch_size": 4}}), "modelspec.title": "é ∞", "empty": ""}
QUIET = Options(smoke="none")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A safetensors file whose metadata has a configuration."""
    from safetensors.torch import save_file

    weights = {"conv.weight": torch.randn(4, 3, 3, 3, 3), "conv.bias": torch.randn(4)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt", **AUTHORED})
    return tmp_path / "model.safetensors"


def metadata_of(path: Path) -> dict[str, str]:
    """Return what the safetensors library finds."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {key: value for key, value in file.metadata().items() if key != "convlast"}


def record_of(path: Path) -> bytes:
    """Return the record of a torch zip file."""
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(metadata.MEMBER)]
        return archive.read(name)


def undone(path: Path, target: Path) -> Report:
    """Give a converted file back its container and its layout."""
    options = Options(memory_format="contiguous_format", container="safetensors", smoke="none")
    return convlast.convert(path, target, options, device="cpu")


def test_metadata_comes_back_after_an_undo(source: Path, tmp_path: Path) -> None:
    """However often a file goes from one kind to the other."""
    made, again, back = (tmp_path / name for name in ("a.pt", "b.pt", "c.safetensors"))
    assert convlast.convert(source, made, QUIET, device="cpu").proof is not None
    assert json.loads(record_of(made)) == AUTHORED
    convlast.convert(made, again, QUIET, device="cpu")
    assert record_of(again) == record_of(made)
    assert undone(again, back).findings == []
    assert metadata_of(back) == {"format": "pt", **AUTHORED}
    assert convlast.verify(source, made).verdict == "passed"
    assert convlast.verify(made, back).verdict == "passed"


def test_metadata_that_was_lost_is_a_difference(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An artifact without it is not the same checkpoint."""
    monkeypatch.setattr(metadata, "authored", lambda _: {})
    convlast.convert(source, tmp_path / "a.pt", QUIET, device="cpu")
    monkeypatch.undo()
    report = convlast.verify(source, tmp_path / "a.pt")
    assert report.verdict == "failed"
    assert {"config", "modelspec.title"} <= {
        finding.message.split(":")[0] for finding in report.findings
    }


def test_a_file_without_metadata_gets_no_record(tmp_path: Path) -> None:
    """The format's own entry is no metadata of the author's."""
    source = builders.save_safetensors(builders.one_convolution(), tmp_path / "m.safetensors")
    convlast.convert(source, tmp_path / "a.pt", QUIET, device="cpu")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        assert not any(name.endswith(metadata.MEMBER) for name in archive.namelist())


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"\xff", b"{", b'{"a": 1}', b"[" * 100_000, b'{"a": "' + b"b" * (9 << 20) + b'"}'],
    ids=["empty", "list", "bytes", "cut", "number", "deep", "large"],
)
def test_a_record_that_anyone_may_have_written_is_no_metadata(data: bytes) -> None:
    """It is kept as any other record, and not read."""
    assert metadata.decode(data) == {}


def test_records_that_safetensors_cannot_hold_are_named(tmp_path: Path) -> None:
    """They are not in the artifact, and the report says so."""
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("model/extra/labels.txt", b"liver")
    options = Options(container="safetensors", smoke="none")
    report = convlast.convert(source, tmp_path / "out.safetensors", options, device="cpu")
    [found] = [each for each in report.findings if each.code == "records-dropped"]
    assert found.severity == "warning"
    assert "extra/labels.txt" in found.message
