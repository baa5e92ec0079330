"""Real checkpoints that nobody here wrote: through the library, and through the command line."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from typer.testing import CliRunner

import convlast
from convlast.checkpoints.tree import dotted, walk
from convlast.cli import app
from convlast.containers import open_checkpoint
from convlast.errors import ConvlastError
from convlast.options import Limits, Options
from convlast.report import Report
from tests import builders
from tests.exactness import Loaded, at, restrided, strides_by_pytorch

pytestmark = pytest.mark.shared

stock: Any = safetensors  # whose functions are not annotated

QUIET = Options(smoke="none")


@dataclass(frozen=True)
class Known:
    """What is known of a file.

    Attributes:
        converted: How many convolution weights have other strides afterwards.
        layers: How many it has, aliases included.
        wrapper: Path of the state dict.
        transposed: The layers that are known to be a ConvTranspose3d's.
        others: How many tensors are 5-D and no convolution's.
        legacy: Whether it is in torch's legacy format.
    """

    converted: int
    wrapper: str | None = None
    transposed: tuple[str, ...] = ()
    others: int = 0
    legacy: bool = False


CONVERTED = {
    "alzheimer_baseline.pth": Known(3, wrapper="model_state_dict"),
    "gnina_default2017_legacy.pt": Known(3, legacy=True),
    "gnina_dense.pt": Known(15),
    "hippodeep.pt": Known(16, legacy=True),
    "lapirn.pth": Known(48),
    "meshnet.pth": Known(20),
    "mvsnerf.tar": Known(10, wrapper="network_mvs_state_dict"),
    "obelisk.pth": Known(7, others=1, legacy=True),
    "patchmatchnet.ckpt": Known(27, wrapper="model", others=42),
    "physnet.pth": Known(12),
}

REFUSED = {
    "gnina_default2017_torchscript.pt": ("program-not-allowed", "state_dict"),
    "lua_torch.t7": ("not-a-checkpoint", "Lua Torch"),
    "topaz_2d_only.sav": ("no-conv3d-weights", "nothing to convert"),
}


DEEPRANK = "deeprank_needs_loss_class.pt"
"""The one that holds an object of a class of `torch.nn`, and is converted with it."""

QUICK = Options(input_shape=(1, 1, 4, 4, 4))


def digest(path: Path) -> str:
    """Return what changes if a single bit of a file does."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def by_library(source: Path, target: Path) -> Report:
    """Convert as a program does."""
    return convlast.convert(source, target, QUIET)


def by_command_line(source: Path, target: Path) -> Report:
    """Convert as a person does."""
    result = CliRunner().invoke(
        app, ["convert", str(source), "-o", str(target), "--smoke", "none", "--json"]
    )
    assert result.exit_code == 0, result.stderr
    return Report.model_validate_json(result.stdout)


def test_every_file_is_accounted_for(shared_checkpoints: Path) -> None:
    """Each file that is there is in one of the two tables."""
    there = {path.name for path in shared_checkpoints.iterdir() if path.name != "README.md"}
    assert there == CONVERTED.keys() | REFUSED.keys() | {DEEPRANK}


@pytest.mark.parametrize("convert", [by_library, by_command_line])
@pytest.mark.parametrize("name", CONVERTED)
def test_converted(name: str, convert: object, shared_checkpoints: Path, tmp_path: Path) -> None:
    """Exactly its convolution weights change, to PyTorch's strides, and nothing else does."""
    assert convert in (by_library, by_command_line)
    source, target, known = shared_checkpoints / name, tmp_path / name, CONVERTED[name]
    before = digest(source)
    report = (by_library if convert is by_library else by_command_line)(source, target)

    assert digest(source) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert report.verdict in {"passed", "passed_with_findings"}
    assert report.input.container == ("torch-legacy" if known.legacy else "torch")
    assert report.input.wrapper == known.wrapper
    assert report.artifact is not None
    assert report.artifact.sha256 == digest(target)

    root = Loaded(source).root
    changed = restrided(source, target)
    prefix = () if known.wrapper is None else (known.wrapper,)
    names = {layer.name for layer in report.layers}
    assert {layer.status for layer in report.layers} <= {"converted", "already"}
    assert len(names) == len(report.layers) == known.converted
    assert changed.keys() <= {(*prefix, name) for name in names}
    for layer in names:
        weight = at(root, (*prefix, layer))
        _, after = changed.get((*prefix, layer), (None, weight.stride()))
        assert after == strides_by_pytorch(weight)
    left_alone = {"not-a-convolution-weight", "optimizer-moment"}
    others = [found for found in report.findings if found.code in left_alone]
    assert len(others) == known.others


@pytest.mark.parametrize("name", [*CONVERTED, DEEPRANK])
def test_digests_of_tensors(name: str, shared_checkpoints: Path, tmp_path: Path) -> None:
    """The same before and after, by PyTorch's own copies, and in a safetensors file."""
    source, made = shared_checkpoints / name, tmp_path / name
    report = convlast.convert(source, made, QUIET, tensor_digests=True)
    before, after = convlast.digest(source), convlast.digest(made)
    assert before == after
    assert report.artifact is not None
    assert report.input.tensors_sha256 == report.artifact.tensors_sha256 == before.root

    checkpoint = open_checkpoint(made)
    plain = {
        dotted(entry.path): checkpoint.read(entry.value).contiguous().clone()
        for entry in walk(checkpoint.root, Limits())
        if isinstance(entry.value, torch.Tensor)
    }
    stored = builders.save_safetensors(plain, tmp_path / "plain.safetensors")
    assert convlast.digest(stored).text == before.text
    slices = dict(stock.deserialize(stored.read_bytes()))
    assert {each.name: each.digest for each in before.tensors} == {
        key: hashlib.sha256(entry["data"]).hexdigest() for key, entry in slices.items()
    }


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_library(name: str, shared_checkpoints: Path, tmp_path: Path) -> None:
    """Each is refused with its own code, and a message that says what to do."""
    code, words = REFUSED[name]
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(shared_checkpoints / name, tmp_path / "out.pt", QUIET)
    assert refusal.value.code == code
    assert words in str(refusal.value)
    assert refusal.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_command_line(name: str, shared_checkpoints: Path, tmp_path: Path) -> None:
    """The same on stderr, with exit status 1 and no artifact."""
    code, words = REFUSED[name]
    result = CliRunner().invoke(
        app, ["convert", str(shared_checkpoints / name), "-o", str(tmp_path / "out.pt")]
    )
    assert result.exit_code == 1
    assert code in result.stderr
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_deeprank_is_converted_with_its_loss(shared_checkpoints: Path, tmp_path: Path) -> None:
    """Two weights change, and the loss beside them is still one, for who allows its class."""
    by_library(shared_checkpoints / DEEPRANK, tmp_path / "out.pt")
    with torch.serialization.safe_globals([torch.nn.CrossEntropyLoss]):
        before = torch.load(shared_checkpoints / DEEPRANK, map_location="cpu", weights_only=True)
        after = torch.load(tmp_path / "out.pt", map_location="cpu", weights_only=True)
    assert list(after) == list(before)
    assert [type(value) for value in after.values()] == [type(value) for value in before.values()]
    changed = set()
    for key, weight in before["state_dict"].items():
        assert torch.equal(after["state_dict"][key], weight)
        if after["state_dict"][key].stride() != weight.stride():
            changed.add(key)
            assert after["state_dict"][key].stride() == strides_by_pytorch(weight)
    assert changed == {"module.convlayer_000.weight", "module.convlayer_002.weight"}


def test_obelisk_keeps_its_offset(shared_checkpoints: Path, tmp_path: Path) -> None:
    """`offset1` is 5-D, and no convolution's weight."""
    target = tmp_path / "out.pt"
    report = by_library(shared_checkpoints / "obelisk.pth", target)
    assert "offset1" not in {layer.name for layer in report.layers}
    assert ("offset1",) not in restrided(shared_checkpoints / "obelisk.pth", target)
    assert Loaded(target).root["offset1"].is_contiguous()


def test_patchmatchnet_keeps_its_moments(shared_checkpoints: Path, tmp_path: Path) -> None:
    """All 27 kernels are 1×1×1, and change their strides all the same; the moments do not."""
    source, target = shared_checkpoints / "patchmatchnet.ckpt", tmp_path / "out.ckpt"
    report = by_library(source, target)
    assert all(layer.shape[2:] == [1, 1, 1] for layer in report.layers)
    changed = restrided(source, target)
    assert {path[0] for path in changed} == {"model"}
    moments = [
        tensor
        for state in Loaded(target).root["optimizer"]["state"].values()
        for tensor in state.values()
        if isinstance(tensor, torch.Tensor) and tensor.dim() == 5
    ]
    assert len(moments) == 42


def test_physnet_has_two_transposed_convolutions(shared_checkpoints: Path) -> None:
    """They are found by what the file tells, or said to be unknown; never taken for a Conv3d."""
    layers = {
        layer.name: layer.kind
        for layer in convlast.inspect(shared_checkpoints / "physnet.pth").layers
    }
    transposed = {
        name for name in layers if name.startswith("upsample") and name.endswith("0.weight")
    }
    assert len(transposed) == 2
    assert {layers[name] for name in transposed} <= {"ConvTranspose3d", "unknown"}


def test_mvsnerf_has_two_state_dicts(shared_checkpoints: Path, tmp_path: Path) -> None:
    """Only the one with convolutions is touched; the step beside them is kept."""
    source, target = shared_checkpoints / "mvsnerf.tar", tmp_path / "out.tar"
    by_library(source, target)
    assert {path[0] for path in restrided(source, target)} == {"network_mvs_state_dict"}
    assert list(Loaded(target).root) == list(Loaded(source).root)


def test_gnina_dense_underflows(shared_checkpoints: Path, tmp_path: Path) -> None:
    """325,149 values of its convolution weights vanish in fp16, and the report counts them."""
    report = convlast.convert(shared_checkpoints / "gnina_dense.pt", tmp_path / "out.pt", QUICK)
    assert report.smoke is not None
    weights = {layer.name for layer in report.layers}
    vanished = {found.name: found.underflow for found in report.smoke.range}
    assert sum(count for name, count in vanished.items() if name in weights) == 325_149


def test_meshnet_overflows(shared_checkpoints: Path, tmp_path: Path) -> None:
    """18 `running_var` tensors exceed 65504: findings, and the verdict is not a plain pass."""
    report = convlast.convert(shared_checkpoints / "meshnet.pth", tmp_path / "out.pt", QUICK)
    overflows = [found for found in report.findings if found.code == "fp16-overflow"]
    assert len(overflows) == 18
    assert all(str(found.layer).endswith("running_var") for found in overflows)
    assert report.verdict == "passed_with_findings"
