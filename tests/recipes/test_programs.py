"""Real architectures as ExportedPrograms: those that run converted, and those that would not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import convlast
from convlast.errors import UnsupportedContainerError
from convlast.options import Options
from tests.recipes import frameworks

pytestmark = [
    pytest.mark.recipes,
    pytest.mark.filterwarnings("ignore"),  # torch.export and the frameworks warn of this and that
]

QUIET = Options(smoke="none")

CLIP = (2, 3, 4, 32, 32)
VOLUME = (2, 1, 16, 16, 16)

ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "r3d_18": (frameworks.r3d_18, CLIP),
    "mc3_18": (frameworks.mc3_18, CLIP),
    "r2plus1d_18": (frameworks.r2plus1d_18, CLIP),
    "UNet": (frameworks.monai_unet, VOLUME),
    "SegResNet": (frameworks.segresnet, VOLUME),
    "DynUNet": (frameworks.dynunet, VOLUME),
    "PlainConvUNet": (frameworks.plain_conv_unet, VOLUME),
    "ResidualEncoderUNet": (frameworks.residual_encoder_unet, VOLUME),
}


def exported(name: str, path: Path, *, decomposed: bool = False) -> tuple[nn.Module, torch.Tensor]:
    """Save a program of an architecture; return its model, and its example input."""
    build, shape = ARCHITECTURES[name]
    torch.manual_seed(0)
    model, sample = build().eval(), torch.randn(shape)
    program = torch.export.export(model, (sample,))
    torch.export.save(program.run_decompositions() if decomposed else program, path)
    return model, sample


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_program_that_runs_is_converted(name: str, tmp_path: Path) -> None:
    """Loaded by PyTorch, it has the model's exact strides, its values and its results."""
    source, target = tmp_path / "in.pt2", tmp_path / "out.pt2"
    model, sample = exported(name, source)
    report = convlast.convert(source, target, QUIET, allow_programs=True)
    loaded = torch.export.load(target)
    expected = copy.deepcopy(model)
    nn.utils.convert_conv3d_weight_memory_format(expected, torch.channels_last_3d)

    assert report.verdict == "passed"
    assert any(layer.status == "converted" for layer in report.layers)
    for key, value in expected.named_parameters():
        assert loaded.state_dict[key].stride() == value.stride(), key
        assert torch.equal(loaded.state_dict[key], value), key
    with torch.no_grad():
        before, after = model(sample), loaded.module()(sample)
    assert (before - after).abs().max() <= 1e-4 * before.abs().max()


@pytest.mark.parametrize("name", ["UNet", "DynUNet", "PlainConvUNet"])
def test_a_program_that_would_break_is_refused(name: str, tmp_path: Path) -> None:
    """Decomposed, its instance norms view a batch of two as it would be if contiguous."""
    exported(name, tmp_path / "in.pt2", decomposed=True)
    with pytest.raises(UnsupportedContainerError, match="raises on the example inputs") as refusal:
        convlast.convert(tmp_path / "in.pt2", tmp_path / "out.pt2", QUIET, allow_programs=True)
    assert "before it is exported" in refusal.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["in.pt2"]
