"""A kind of file is one class and one line: a small one is added here, and converted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import convlast
from convlast.checkpoints.checkpoint import Checkpoint, StoredBytes
from convlast.containers import CONTAINERS, WritableContainer, container_of, open_checkpoint
from convlast.layout.memory_format import laid_out, strides_of
from convlast.options import Limits, Options
from convlast.report import Survival
from convlast.writing.request import WriteRequest, Written
from tests import builders


class Flat(WritableContainer):
    """A line of JSON with the shape and strides of each tensor, and then their float32 values."""

    name = "flat"
    extension = ".flat"
    magics = (b'{"flat": ',)
    holds_objects = False

    def open(self, path: Path, limits: Limits) -> Checkpoint:
        """Read the first line."""
        with path.open("rb") as file:
            entries = json.loads(file.readline())["flat"]
            offset = file.tell()
        tensors: dict[str, torch.Tensor] = {}
        checkpoint = Checkpoint(path, self.name, tensors)
        for name, (shape, stride) in entries.items():
            tensors[name] = torch.empty_strided(shape, stride)
            nbytes = tensors[name].nbytes
            checkpoint.add(tensors[name].untyped_storage(), StoredBytes(offset, nbytes))
            offset += nbytes
        return checkpoint

    def write(self, request: WriteRequest) -> Written:
        """Write each tensor with the strides that it has now."""
        path = request.folder / "made.flat"
        values = {}
        for entry in request.plan.entries:
            assert isinstance(entry.value, torch.Tensor)
            assert entry.original is not None
            values[entry.path[0]] = laid_out(
                request.checkpoint.read(entry.original), entry.value.stride()
            )
        save_flat(path, values)
        request.follow(path, [])
        return Written(path)

    def reload(self, artifact: Path, original: Checkpoint, limits: Limits) -> Checkpoint:
        """Open it again."""
        return self.open(artifact, limits)

    def survival(self, original: Checkpoint) -> Survival:
        """Say that its loader keeps strides."""
        return Survival(route="flat.load(path)", survives=True, message="Every stride is there.")

    def loading_code(self, original: Checkpoint, *, has_layout: bool) -> str:
        """Return a call of its loader."""
        return "flat.load({name!r})"


def save_flat(path: Path, tensors: dict[object, torch.Tensor]) -> Path:
    """Write tensors as a flat file."""
    header = {name: (list(value.shape), value.stride()) for name, value in tensors.items()}
    with path.open("wb") as file:
        file.write(json.dumps({"flat": header}).encode() + b"\n")
        for value in tensors.values():
            file.write(bytes(value.untyped_storage()))
    return path


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flat file, which is known for the time of a test."""
    monkeypatch.setitem(CONTAINERS, Flat.name, Flat())
    weight = torch.arange(4 * 3 * 27, dtype=torch.float32).reshape(4, 3, 3, 3, 3)
    return save_flat(tmp_path / "model.flat", {"conv.weight": weight, "conv.bias": torch.ones(4)})


def test_a_kind_that_was_added_is_converted_and_proven(source: Path, tmp_path: Path) -> None:
    """It is recognised, stays of its kind, and gets its layout, its proof, and its own advice."""
    assert container_of(source) == "flat"
    report = convlast.convert(source, tmp_path / "out.flat", device="cpu")
    assert (report.verdict, report.input.container) == ("passed", "flat")
    assert report.artifact is not None
    assert report.artifact.container == "flat"
    assert report.proof is not None
    assert (report.proof.values, report.proof.strides) == ("identical", "exact")
    assert report.survival[0].route == "flat.load(path)"
    assert report.advice is not None
    assert report.advice.load == "flat.load('out.flat')"
    made = open_checkpoint(tmp_path / "out.flat")
    weight = made.root["conv.weight"]  # type: ignore[index]  # a dict
    assert weight.stride() == strides_of(weight.shape, "channels_last_3d")
    assert convlast.verify(source, tmp_path / "out.flat").verdict == "passed"


def test_a_fault_of_its_writer_is_found(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof stands on what is reloaded, whatever wrote it."""
    sound = save_flat
    monkeypatch.setattr(
        f"{__name__}.save_flat",
        lambda path, tensors: sound(path, {name: -value for name, value in tensors.items()}),
    )
    with pytest.raises(convlast.errors.VerificationError):
        convlast.convert(source, tmp_path / "out.flat", device="cpu")
    assert not (tmp_path / "out.flat").exists()


def test_it_can_become_another_kind(source: Path, tmp_path: Path) -> None:
    """The option `container` names kinds that are known already."""
    target = tmp_path / "out.pt"
    report = convlast.convert(source, target, Options(container="torch"), device="cpu")
    assert report.verdict == "passed"
    assert torch.load(target)["conv.weight"].is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_name_is_the_one_that_a_file_gets(name: str) -> None:
    """The table has each kind under its own name."""
    assert CONTAINERS[name].name == name


def test_a_name_that_misleads_is_refused(tmp_path: Path) -> None:
    """PyTorch takes a file called .safetensors for one, whatever is in it."""
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    with pytest.raises(convlast.errors.OptionError, match="for a safetensors file"):
        convlast.convert(source, tmp_path / "out.safetensors", device="cpu")
