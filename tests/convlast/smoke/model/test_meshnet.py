"""A real network that fp16 breaks silently: all values are finite, and far off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from convlast.architectures.subject import Inputs, Subject
from convlast.findings import smoke as smoke_findings
from convlast.report import verdict_of
from convlast.smoke.model.specimen import Weights
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import smoke_model
from tests.subjects import CPU, converted_of

pytestmark = pytest.mark.shared


def meshnet_of(path: Path) -> tuple[Subject, Weights]:
    """Build the network from the shapes in its file: dilated convolutions, norms, ReLU."""
    values: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    blocks = sorted({int(key.split(".")[1]) for key in values if key.count(".") == 3})
    dilations = [1, 2, 4, 8, 16, 8, 4, 2, 1]

    def make() -> nn.Module:
        model = nn.Module()
        layers: list[nn.Module] = []
        for index, block in enumerate(blocks):
            weight = values[f"model.{block}.0.weight"]
            dilation = dilations[index % len(dilations)]
            convolution = nn.Conv3d(
                weight.shape[1], weight.shape[0], 3, padding=dilation, dilation=dilation
            )
            layers.append(nn.Sequential(convolution, nn.BatchNorm3d(weight.shape[0]), nn.ReLU()))
        last = values[f"model.{len(blocks)}.weight"]
        layers.append(nn.Conv3d(last.shape[1], last.shape[0], last.shape[2]))
        model = nn.Sequential(*layers)
        model.load_state_dict({key.removeprefix("model."): v for key, v in values.items()})
        return model.eval()

    names = [
        f"{name}.weight" for name, part in make().named_modules() if isinstance(part, nn.Conv3d)
    ]

    def inputs(samples: int) -> Inputs:
        generator = torch.Generator().manual_seed(0)
        return Inputs((torch.rand(samples, 1, 24, 24, 24, generator=generator),), {})

    subject = Subject("MeshNet", "a test", "forward", make, dict(zip(names, names, strict=True)),
                      inputs, takes_hooks=True)  # fmt: skip
    return subject, converted_of(subject)


def test_it_is_found_blamed_on_fp16_and_cured(shared_checkpoints: Path) -> None:
    """Norms of variances beyond 65504 are named, and with them in fp32 the model is right."""
    subject, converted = meshnet_of(shared_checkpoints / "meshnet.pth")
    found = smoke_model(subject, converted, CPU, Request())
    smoke = found.smoke
    dtype = smoke.parity[0]
    assert (dtype.pair, dtype.passed, dtype.nan, dtype.inf) == ("dtype", False, 0, 0)
    assert dtype.relative is not None
    assert dtype.relative > 0.5
    assert smoke.first_wrong is not None
    assert smoke.first_wrong.kind == "BatchNorm3d"
    kept = smoke.kept_in_float32
    assert kept is not None
    assert kept.helps
    assert kept.parity is not None
    assert kept.parity.relative is not None
    assert kept.parity.relative < 0.02
    modules = dict(subject.make_module().named_modules())
    assert {type(modules[name]).__name__ for name in kept.modules} == {"BatchNorm3d"}
    told = list(smoke_findings.of_model(found))
    assert verdict_of(told) == "passed_with_findings"
    assert {fault.blame for fault in found.faults} == {"dtype"}
