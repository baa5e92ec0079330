"""What cannot be converted, or not to there, is refused and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

import convlast
from convlast.errors import (
    CheckpointError,
    DeviceUnavailableError,
    NoConv3dWeightsError,
    NotACheckpointError,
    OptionError,
    ProgramNotAllowedError,
    StorageFullError,
)
from convlast.options import Options
from tests import builders
from tests.exactness import restrided

QUIET = Options(smoke="none")


@pytest.mark.parametrize("container", ["torchscript", "program"])
def test_programs_are_refused(container: str, tmp_path: Path) -> None:
    """A file that holds code is refused by its kind, with what to send in its place."""
    source = tmp_path / "program.pt2"
    if container == "torchscript":
        builders.save_torchscript(source)
    else:
        builders.save_exported_program(source)
    with pytest.raises(ProgramNotAllowedError, match=container) as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert "state_dict" in refusal.value.remedy


def test_no_convolution_is_nothing_to_convert(tmp_path: Path) -> None:
    """The refusal says how many tensors were looked at."""
    source = builders.save(builders.without_convolutions(), tmp_path / "source.pt")
    with pytest.raises(NoConv3dWeightsError, match="2 tensors"):
        convlast.convert(source, tmp_path / "target.pt", QUIET)


def test_the_input_is_not_replaced(tmp_path: Path) -> None:
    """Neither by its own name nor by a link to it."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    link = tmp_path / "link.pt"
    link.symlink_to(source)
    for target in (source, link):
        with pytest.raises(OptionError, match="replace the input"):
            convlast.convert(source, target, QUIET)


def test_a_torch_file_is_not_called_safetensors(tmp_path: Path) -> None:
    """torch.load would take it for one, and fail; so the name is refused."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    with pytest.raises(OptionError, match="safetensors") as refusal:
        convlast.convert(source, tmp_path / "target.safetensors", QUIET)
    assert "container=safetensors" in refusal.value.remedy


def test_a_pipe_is_called_one(tmp_path: Path) -> None:
    """It is there, so that `there is no file` would mislead who wrote `<(zcat model.pt.gz)`."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotACheckpointError, match="a pipe, a socket or a device") as refusal:
        convlast.convert(tmp_path / "pipe", tmp_path / "target.pt", QUIET)
    assert "into a file first" in refusal.value.remedy


def test_a_target_without_a_folder(tmp_path: Path) -> None:
    """A folder that is not there is not made."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    with pytest.raises(OptionError, match="no folder"):
        convlast.convert(source, tmp_path / "absent" / "target.pt", QUIET)
    assert not (tmp_path / "absent").exists()


def test_a_folder_for_a_target(tmp_path: Path) -> None:
    """A folder gets the artifact, and one in the artifact's own place is not replaced by it."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    convlast.convert(source, tmp_path, QUIET)
    made = tmp_path / "source.channels_last_3d.pt"
    made.unlink()
    made.mkdir()
    with pytest.raises(OptionError, match="is a folder"):
        convlast.convert(source, tmp_path, QUIET)
    assert made.is_dir()


def test_an_existing_target_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    """After a refusal what was there before is there still."""
    target = tmp_path / "target.pt"
    target.write_bytes(b"before")
    source = builders.save(builders.without_convolutions(), tmp_path / "source.pt")
    with pytest.raises(CheckpointError):
        convlast.convert(source, target, QUIET)
    assert target.read_bytes() == b"before"
    convlast.convert(builders.save(builders.one_convolution(), source), target, QUIET)
    assert restrided(source, target).keys() == {("conv.weight",)}


def test_a_full_file_system_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room is an error of its own, and the half-written file is gone."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StorageFullError, match="full"):
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["source.pt"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_is_not_to_be_written(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target's folder is named, and not the hidden one that could not be made in it."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number), "hidden")

    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    monkeypatch.setattr("os.mkdir", refused)
    with pytest.raises(OptionError, match="Nothing can be written to the folder") as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert os.strerror(number) in str(refusal.value)
    assert "hidden" not in str(refusal.value)


def test_no_room_for_what_is_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look into one needs room among the temporary files, and says so."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "model").mkdir()
    builders.save(builders.one_convolution(), tmp_path / "model" / "source.pt")
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "model")
    monkeypatch.setattr("os.mkdir", full)
    with pytest.raises(StorageFullError, match="TMPDIR"):
        convlast.inspect(archive)
    with pytest.raises(StorageFullError, match="TMPDIR"):
        convlast.verify(archive, archive)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_absent(tmp_path: Path) -> None:
    """A GPU that is asked for and absent is said to be so; `auto` takes the CPU."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    with pytest.raises(DeviceUnavailableError, match="cuda:1"):
        convlast.convert(source, tmp_path / "target.pt", QUIET, device="cuda:1")
    assert convlast.convert(source, tmp_path / "t.pt", QUIET).environment.device == "cpu"


def test_a_device_that_does_not_exist(tmp_path: Path) -> None:
    """A name that is no device is an option's bad value."""
    source = builders.save(builders.one_convolution(), tmp_path / "source.pt")
    with pytest.raises(OptionError, match="tpu"):
        convlast.convert(source, tmp_path / "target.pt", QUIET, device="tpu")
