"""Real architectures, smoked whole on the CPU: parity, ranges and the trace are in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from convlast import Options
from convlast.report import Report, Smoke

pytestmark = pytest.mark.recipes

UNET = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [8, 16, 32],
    "strides": [2, 2],
}  # fmt: skip
SEGRESNET = {"spatial_dims": 3, "init_filters": 8, "in_channels": 1, "out_channels": 2}
DYNUNET = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3],
    "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [8, 16, 32],
    "norm_name": "instance",
}  # fmt: skip
DENSENET = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "init_features": 8,
    "growth_rate": 4, "block_config": [2, 2],
}  # fmt: skip
AUTOENCODER = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 1, "channels": [8, 16],
    "strides": [2, 2],
}  # fmt: skip
WAN = {
    "base_dim": 8, "z_dim": 4, "dim_mult": [1, 2], "num_res_blocks": 1, "attn_scales": [],
    "temperal_downsample": [True], "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4,
}  # fmt: skip

MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "torchvision.models.video.r3d_18": ({}, {"input_shape": (2, 3, 4, 28, 28)}, set()),
    "monai.networks.nets.UNet": (UNET, {"input_shape": (2, 1, 16, 16, 16)}, {"InstanceNorm3d"}),
    "monai.networks.nets.SegResNet": (SEGRESNET, {"input_shape": (2, 1, 16, 16, 16)}, set()),
    "monai.networks.nets.DynUNet": (
        DYNUNET, {"input_shape": (2, 1, 16, 16, 16)}, {"InstanceNorm3d"},
    ),
    "monai.networks.nets.DenseNet": (DENSENET, {"input_shape": (2, 1, 24, 24, 24)}, {"AvgPool3d"}),
    "monai.networks.nets.AutoEncoder": (
        AUTOENCODER, {"input_shape": (2, 1, 16, 16, 16)}, {"InstanceNorm3d"},
    ),
    "diffusers.AutoencoderKLWan": (
        WAN, {"input_shape": (2, 4, 2, 8, 8), "entry_point": "decode"}, set(),
    ),
}  # fmt: skip
"""Options of each, how it is run, and the modules that must be named for breaking the chain."""


def made(architecture: str, options: dict[str, Any]) -> nn.Module:
    """Make a model with random values, the same each time."""
    from importlib import import_module

    package, _, name = architecture.rpartition(".")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = getattr(import_module(package), name)(**options)
    return model


@pytest.fixture(params=MODELS)
def report(request: pytest.FixtureRequest, tmp_path: Path) -> Report:
    """The report on each model."""
    options, how, _ = MODELS[request.param]
    torch.save(made(request.param, options).state_dict(), tmp_path / "model.pt")
    asked = Options.model_validate(
        {"architecture": request.param, "architecture_options": options, **how}
    )
    return convlast.convert(tmp_path / "model.pt", tmp_path / "out.pt", asked)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_real_architecture_is_smoked_whole(report: Report) -> None:
    """It passes, and the report has parity, ranges, the trace and who breaks the chain."""
    smoke, architecture = report.smoke, report.options.architecture
    assert smoke is not None
    assert architecture is not None
    assert (smoke.scope, smoke.model, smoke.status) == ("model", architecture, "passed")
    assert {parity.pair for parity in smoke.parity} == {
        "dtype", "layout", "layout_input", "autocast", "autocast_layout",
    }  # fmt: skip
    assert smoke.activations
    assert smoke.trace
    assert smoke.permutations is not None
    assert MODELS[architecture][2] <= breakers(smoke)
    assert all(
        layer.smoke is not None for layer in report.layers if _runs(architecture, layer.name)
    )


def breakers(smoke: Smoke) -> set[str]:
    """Return the kinds of the modules that give contiguous tensors for channels-last ones."""
    return {flip.kind for flip in smoke.flips if flip.output_memory_format == "contiguous_format"}


def _runs(architecture: str, layer: str) -> bool:
    """Say whether a layer is on the way: a decoder runs without its encoder."""
    return "Wan" not in architecture or "decoder" in layer
