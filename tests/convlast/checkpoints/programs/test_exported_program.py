"""ExportedPrograms are converted if a run on their own inputs gives the same, else refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

import convlast
from convlast.errors import (
    MalformedCheckpointError,
    ProgramNotAllowedError,
    UnsupportedContainerError,
)
from convlast.options import Options
from convlast.report import Report

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.export warns of this and that

QUIET = Options(smoke="none")


def conv_block(channels: int, features: int) -> nn.Sequential:
    """A convolution, its norm and its activation."""
    return nn.Sequential(
        nn.Conv3d(channels, features, 3, padding=1), nn.BatchNorm3d(features), nn.ReLU()
    )


class UNet(nn.Module):
    """Two levels with a skip, and a transposed convolution on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner = conv_block(2, 8), conv_block(8, 16)
        self.up, self.out = nn.ConvTranspose3d(16, 8, 2, 2), nn.Conv3d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Segment."""
        skip = self.down(x)
        inner = self.inner(F.max_pool3d(skip, 2))
        result: torch.Tensor = self.out(torch.cat([skip, self.up(inner)], 1))
        return result


class Dense(nn.Module):
    """Each convolution gets the outputs of all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([conv_block(2 + 4 * index, 4) for index in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Grow."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Residual(nn.Module):
    """Two blocks with skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(2, 8, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([conv_block(8, 8) for _ in range(2)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        result: torch.Tensor = self.head(x.mean((2, 3, 4)))
        return result


class Tied(nn.Module):
    """A convolution under two names, a constant kernel, and one of a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(2, 2, 3, padding=1)
        self.second = self.first
        self.kernel = torch.randn(4, 2, 3, 3, 3)
        self.register_buffer("blur", torch.ones(2, 4, 2, 2, 2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve four times."""
        x = self.second(self.first(x))
        return F.conv3d(F.conv3d(x, self.kernel), self.blur)  # type: ignore[arg-type]  # a buffer


WORKING: dict[str, Callable[[], nn.Module]] = {
    "a stack": lambda: nn.Sequential(conv_block(2, 8), conv_block(8, 4), nn.Conv3d(4, 2, 1)),
    "a U-Net": UNet,
    "an autoencoder": lambda: nn.Sequential(
        nn.Conv3d(2, 8, 2, 2), nn.ReLU(), nn.ConvTranspose3d(8, 2, 2, 2)
    ),
    "group norms": lambda: nn.Sequential(
        nn.Conv3d(2, 8, 3), nn.GroupNorm(4, 8), nn.SiLU(), nn.Conv3d(8, 2, 3)
    ),
    "batch norms and pools": lambda: nn.Sequential(
        conv_block(2, 8), nn.MaxPool3d(2), conv_block(8, 8), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    ),
    "depthwise": lambda: nn.Sequential(
        nn.Conv3d(2, 2, 3, padding=1, groups=2), nn.Conv3d(2, 8, 1), nn.ReLU6()
    ),
    "a dense block": Dense,
    "residual": Residual,
    "dilated": lambda: nn.Sequential(
        nn.Conv3d(2, 4, 3, dilation=2, padding=2), nn.ELU(), nn.Conv3d(4, 2, 3, padding="same")
    ),
    "instance norms": lambda: nn.Sequential(
        nn.Conv3d(2, 4, 3), nn.InstanceNorm3d(4, affine=True), nn.LeakyReLU(), nn.Conv3d(4, 2, 3)
    ),
    "tied weights and constants": Tied,
}

SAMPLE = torch.randn(2, 2, 8, 8, 8, generator=torch.Generator().manual_seed(1))


def exported(model: nn.Module, path: Path, *, decomposed: bool = False) -> Path:
    """Save a program with its sample as the example input."""
    program = torch.export.export(model.eval(), (SAMPLE,))
    torch.export.save(program.run_decompositions() if decomposed else program, path)
    return path


def convert(source: Path, target: Path, options: Options = QUIET) -> Report:
    """Convert, with programs allowed."""
    return convlast.convert(source, target, options, allow_programs=True)


def members_of(path: Path) -> dict[str, bytes]:
    """Return each member's bytes, by its name below the root."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def rewritten(source: Path, target: Path, changes: dict[str, bytes | None]) -> Path:
    """Copy an archive with members changed, or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            name = entry.filename.partition("/")[2]
            data = changes.get(name, old.read(entry))
            if data is not None:
                new.writestr(entry, data)
    return target


def tensors_of(path: Path) -> dict[str, Any]:
    """Return the tensors that PyTorch loads."""
    program = torch.export.load(path)
    return {**program.state_dict, **program.constants}


@pytest.mark.parametrize("name", WORKING)
def test_it_runs_alike_and_keeps_its_strides(name: str, tmp_path: Path) -> None:
    """PyTorch loads the artifact with every weight channels-last, and its results agree."""
    source, target = exported(WORKING[name](), tmp_path / "in.pt2"), tmp_path / "out.pt2"
    report = convert(source, target)
    before, after = torch.export.load(source), torch.export.load(target)

    assert report.verdict == "passed"
    assert report.input.container == "program"
    assert {layer.status for layer in report.layers} <= {"converted", "already"}
    torch.testing.assert_close(
        after.module()(SAMPLE), before.module()(SAMPLE), rtol=1e-4, atol=1e-4
    )
    originals = tensors_of(source)
    for key, tensor in tensors_of(target).items():
        assert torch.equal(tensor, originals[key])
        assert tensor.dim() != 5 or tensor.stride()[1] == 1, key
        assert tensor.dim() == 5 or tensor.stride() == originals[key].stride()


@pytest.mark.parametrize("name", ["a U-Net", "residual"])
def test_decomposed_programs_that_work(name: str, tmp_path: Path) -> None:
    """A graph of core operators is converted if a run gives the same results."""
    source = exported(WORKING[name](), tmp_path / "in.pt2", decomposed=True)
    report = convert(source, tmp_path / "out.pt2")
    assert {layer.kind for layer in report.layers} <= {"Conv3d", "ConvTranspose3d"}
    assert {layer.evidence for layer in report.layers} == {"the program's graph: aten.convolution"}


def test_a_traced_layout_that_breaks_is_refused(tmp_path: Path) -> None:
    """A decomposed InstanceNorm3d, whose view fails on channels-last tensors, is refused."""
    source = exported(WORKING["instance norms"](), tmp_path / "in.pt2", decomposed=True)
    with pytest.raises(UnsupportedContainerError, match="raises on the example inputs") as refusal:
        convert(source, tmp_path / "out.pt2")
    assert "before it is exported" in refusal.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["in.pt2"]


def test_other_results_are_refused(tmp_path: Path) -> None:
    """A program that computes with strides gives other results, and is refused."""

    class Strided(nn.Module):
        """Adds a number that depends on a weight's strides to its results."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(2, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.conv.weight
            return self.conv(x) + weight.as_strided((1,), (1,), 1)  # type: ignore[no-any-return]

    source = exported(Strided(), tmp_path / "in.pt2")
    with pytest.raises(UnsupportedContainerError, match="other results"):
        convert(source, tmp_path / "out.pt2")


def test_without_example_inputs(tmp_path: Path) -> None:
    """A program without example inputs, which cannot be tried, is refused."""
    source = exported(WORKING["a stack"](), tmp_path / "whole.pt2")
    program = torch.export.load(source)
    program.example_inputs = None
    torch.export.save(program, tmp_path / "in.pt2")
    with pytest.raises(UnsupportedContainerError, match="no example inputs"):
        convert(tmp_path / "in.pt2", tmp_path / "out.pt2")


def test_the_graph_tells_what_a_convolution_is(tmp_path: Path) -> None:
    """The graph gives kind, groups, stride, padding and dilation, so the smoke assumes nothing."""
    source = exported(WORKING["an autoencoder"](), tmp_path / "in.pt2")
    report = convert(source, tmp_path / "out.pt2", Options())
    facts = [(layer.kind, layer.groups, layer.evidence) for layer in report.layers]
    assert facts == [
        ("Conv3d", 1, "the program's graph: aten.conv3d"),
        ("ConvTranspose3d", 1, "the program's graph: aten.conv_transpose3d"),
    ]
    assert all(layer.smoke and layer.smoke.assumed == [] for layer in report.layers)
    assert [entry.route for entry in report.survival] == ["torch.export.load(path)"]


def test_aliases_and_constants(tmp_path: Path) -> None:
    """A weight under two names is converted once; kernels that are constants are converted too."""
    report = convert(exported(Tied(), tmp_path / "in.pt2"), tmp_path / "out.pt2")
    aliases = {layer.name: layer.alias_of for layer in report.layers}
    assert aliases.keys() == {"first.weight", "second.weight", "kernel", "blur"}
    assert {aliases["first.weight"], aliases["second.weight"]} >= {None}
    assert len([name for name in aliases if aliases[name]]) == 1
    loaded = tensors_of(tmp_path / "out.pt2")
    assert loaded["first.weight"].data_ptr() == loaded["second.weight"].data_ptr()


def test_all_else_is_carried_over(tmp_path: Path) -> None:
    """Only the weights' bytes and descriptions change, and one note is added."""
    source, target = exported(UNet(), tmp_path / "in.pt2"), tmp_path / "out.pt2"
    convert(source, target)
    before, after = members_of(source), members_of(target)
    note = json.loads(after.pop("extra/convlast.json"))
    changed = {name for name in before if before[name] != after[name]}
    texts = {"models/model.json", "data/weights/model_weights_config.json"}

    assert list(before) == list(after)
    assert note["memory_format"] == "channels_last_3d"
    assert texts < changed
    assert {name.rpartition("/")[0] for name in changed - texts} == {"data/weights"}
    assert all(len(before[name]) == len(after[name]) for name in changed - texts)
    files = {"convlast.json": ""}
    torch.export.load(target, extra_files=files)
    assert json.loads(files["convlast.json"]) == note


def test_undo_and_verify(tmp_path: Path) -> None:
    """Undone, every member but the note is as before, and `verify` finds only the layout."""
    source, target, back = (
        exported(UNet(), tmp_path / "a.pt2"),
        tmp_path / "b.pt2",
        tmp_path / "c.pt2",
    )
    convert(source, target)
    convert(target, back, Options(smoke="none", memory_format="contiguous_format"))
    before, after = members_of(source), members_of(back)
    after.pop("extra/convlast.json")
    assert before == after
    report = convlast.verify(source, target, allow_programs=True)
    assert report.verdict == "passed"
    data = members_of(target)["data/weights/weight_0"]
    other = rewritten(
        target, tmp_path / "other.pt2", {"data/weights/weight_0": data[:-1] + b"\x7f"}
    )
    assert convlast.verify(source, other, allow_programs=True).verdict == "failed"


def test_the_artifact_is_the_same_each_time(tmp_path: Path) -> None:
    """The same input gives the same bytes."""
    source = exported(UNet(), tmp_path / "in.pt2")
    for name in ("one.pt2", "two.pt2"):
        convert(source, tmp_path / name)
    assert (tmp_path / "one.pt2").read_bytes() == (tmp_path / "two.pt2").read_bytes()


def test_one_that_needs_no_change_is_loaded_without_complaint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that needs no change is loaded without a warning about its file's name."""
    source = exported(UNet(), tmp_path / "in.pt2")
    convert(source, tmp_path / "one.pt2")
    caplog.clear()
    convert(tmp_path / "one.pt2", tmp_path / "two.pt2")
    assert (tmp_path / "one.pt2").read_bytes() == (tmp_path / "two.pt2").read_bytes()
    assert caplog.messages == []


def test_it_is_refused_unless_allowed(tmp_path: Path) -> None:
    """A program is opened only if that is allowed, and inspection runs none of it."""
    source = exported(WORKING["a stack"](), tmp_path / "in.pt2")
    with pytest.raises(ProgramNotAllowedError, match="allow-programs"):
        convlast.convert(source, tmp_path / "out.pt2")
    report = convlast.inspect(source, allow_programs=True)
    assert {layer.status for layer in report.layers} == {"convertible"}


WEIGHTS = "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        (b'"use_pickle": false', b'"use_pickle": true', UnsupportedContainerError),
        (b'"as_int": 54', b'"as_int": 99999', MalformedCheckpointError),
        (b'"as_int": 54', b'"as_int": -54', MalformedCheckpointError),
        (b'"weight_0"', b'"weight_99"', MalformedCheckpointError),
        (b'"tensor_meta"', b'"meta"', MalformedCheckpointError),
        (b'{"config"', b'{"config', MalformedCheckpointError),
    ],
)
def test_descriptions_that_do_not_fit(
    old: bytes, new: bytes, refusal: type[Exception], tmp_path: Path
) -> None:
    """A tensor that is a pickle, reaches past its bytes, or is missing, is refused."""
    source = exported(WORKING["a stack"](), tmp_path / "in.pt2")
    text = members_of(source)[WEIGHTS]
    assert old in text
    hostile = rewritten(source, tmp_path / "hostile.pt2", {WEIGHTS: text.replace(old, new)})
    with pytest.raises(refusal):
        convlast.inspect(hostile, allow_programs=True)


def test_a_program_of_another_version(tmp_path: Path) -> None:
    """An archive of torch 2.6, which has other members, is refused with what to do."""
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(UnsupportedContainerError, match="another version"):
        convlast.inspect(tmp_path / "old.pt2", allow_programs=True)
