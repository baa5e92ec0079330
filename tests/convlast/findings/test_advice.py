"""What the report says of loading is true of what was written, and claims nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm

import convlast
from convlast.options import Options
from convlast.report import Report
from convlast.report.rendering import claims
from tests import builders

UNDO = "contiguous_format"


def network() -> nn.Module:
    """Return a model that fits the checkpoint."""
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The state dict of a model."""
    return builders.save(network().state_dict(), tmp_path / "model.pt")


def loaded(report: Report, folder: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Run the lines of a report, as a reader would beside the artifact."""
    import safetensors.torch

    monkeypatch.chdir(folder)
    model = network()
    assert report.advice is not None
    exec(  # noqa: S102  # the report's own lines
        report.advice.load,
        {"torch": torch, "convlast": convlast, "safetensors": safetensors, "model": model},
    )
    return model


def is_channels_last(model: nn.Module) -> bool:
    """Say which layout the convolution has."""
    [convolution, _] = model.children()
    assert isinstance(convolution, nn.Conv3d)
    return not convolution.weight.is_contiguous()


@pytest.mark.parametrize("container", ["torch", "safetensors"])
def test_the_lines_load_what_was_written(
    container: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its layout, and after an undo without a word of losing it."""
    extension = {"torch": "pt", "safetensors": "safetensors"}[container]
    made, back = tmp_path / f"made.{extension}", tmp_path / f"back.{extension}"
    options = Options.parse(container=container, smoke="none")
    report = convlast.convert(source, made, options, device="cpu")
    assert is_channels_last(loaded(report, tmp_path, monkeypatch))
    undo = Options.parse(container=container, smoke="none", memory_format=UNDO)
    report = convlast.convert(made, back, undo, device="cpu")
    assert not is_channels_last(loaded(report, tmp_path, monkeypatch))
    assert report.advice is not None
    assert "lost" not in report.advice.load
    assert "contiguous weights" not in report.advice.load


def test_the_lines_of_a_folder_name_what_is_in_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file by its path in the folder that was written."""
    folder = tmp_path / "bundle"
    (folder / "models").mkdir(parents=True)
    source.rename(folder / "models" / "model.pt")
    report = convlast.convert(folder, tmp_path / "made", Options(smoke="none"), device="cpu")
    [section] = report.files
    assert section.advice is not None
    of_file = report.model_copy(update={"advice": section.advice})
    for each in (report, of_file):
        assert is_channels_last(loaded(each, tmp_path, monkeypatch))


def test_a_folder_where_all_is_skipped_has_no_layout_to_apply(tmp_path: Path) -> None:
    """It is loaded as the original is."""
    (tmp_path / "bundle").mkdir()
    model = spectral_norm(nn.Conv3d(2, 4, 3))
    torch.save(model.state_dict(), tmp_path / "bundle" / "model.pt")
    report = convlast.convert(tmp_path / "bundle", tmp_path / "made", device="cpu")
    assert report.advice is not None
    assert "apply_layout" not in report.advice.load
    assert "as the original" in report.advice.load


def test_the_lines_of_an_archive_say_to_unpack_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They name what is there then, and not a folder called .zip."""
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        archive.write(source, "models/model.pt")
    options = Options(smoke="none")
    report = convlast.convert(tmp_path / "bundle.zip", tmp_path / "made.zip", options, device="cpu")
    assert report.advice is not None
    assert report.advice.load.startswith("# unpack made.zip first\n")
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        archive.extractall(tmp_path / "unpacked")  # our own
    [section] = report.files
    of_file = report.model_copy(update={"advice": section.advice})
    for each in (report, of_file):
        assert is_channels_last(loaded(each, tmp_path / "unpacked", monkeypatch))


def claim(report: Report, title: str) -> str:
    """Return what the page claims under a title."""
    [found] = [each.text for each in claims.of_report(report) if each.title == title]
    return found


def test_one_way_of_loading_is_not_called_all(source: Path, tmp_path: Path) -> None:
    """What was not tried is said to be untried."""
    report = convlast.convert(source, tmp_path / "out.pt", Options(smoke="none"), device="cpu")
    said = claim(report, "Survives loading")
    assert said.startswith("torch.load(")
    assert "No other way of loading was tried." in said


@pytest.mark.parametrize("case", ["skipped", "undo"])
def test_without_a_new_layout_nothing_survives(case: str, source: Path, tmp_path: Path) -> None:
    """Nothing is claimed of a layout that is not there."""
    options = Options(smoke="none")
    if case == "skipped":
        module = nn.utils.parametrizations.weight_norm(nn.Conv3d(3, 4, 3))
        builders.save(module.state_dict(), source)
    else:
        options = Options(smoke="none", memory_format=UNDO)
    report = convlast.convert(source, tmp_path / "out.pt", options, device="cpu")
    assert report.survival == []
    assert claim(report, "Survives loading") == "No way of loading was tried."
