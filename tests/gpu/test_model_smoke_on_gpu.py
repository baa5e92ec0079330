"""The smoke of whole models in native fp16: verdicts, kernels, times, and the choice of layers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

import convlast
from convlast import Options
from convlast.devices import troubles_on
from convlast.errors import VerificationError
from convlast.smoke.model.choosing import choose_on_accelerator
from convlast.smoke.model.dispatch import profile
from convlast.smoke.model.outputs import parity_of
from convlast.smoke.model.remedies import judge_layout_in_float32
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.timing import Setting, pair_of, race_of
from convlast.smoke.model.ways import Request
from convlast.smoke.parity import LAYOUT_THRESHOLD
from tests.subjects import CPU, converted_of, smoked, subject_of

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda", 0)
SHAPE = (16, 16, 32, 32)


def network(*between: nn.Module) -> nn.Module:
    """Return convolutions wide enough for tensor cores, with layers between them."""
    return nn.Sequential(
        nn.Conv3d(16, 64, 3, padding=1),
        nn.BatchNorm3d(64),
        nn.ReLU(),
        nn.Conv3d(64, 64, 3, padding=1),
        *between,
        nn.Conv3d(64, 64, 3, padding=1),
        nn.ConvTranspose3d(64, 16, 2, stride=2),
    )


class Viewing(nn.Module):
    """Flattens with a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(16, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = self.conv(x)
        return x.view(x.size(0), -1)


class Corrupting(nn.Conv3d):
    """Is a few percent off for channels-last weights alone."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # PyTorch's name
        """Run."""
        return super().forward(input) * (1.05 if self.weight.stride(1) == 1 else 1.0)


def test_a_sound_model_passes() -> None:
    """All ways, in native fp16."""
    found = smoked(network, SHAPE, device=CUDA)
    assert (found.smoke.status, found.smoke.dtype, found.faults) == ("passed", "float16", [])
    assert all(parity.passed for parity in found.smoke.parity)
    assert {smoke.output_memory_format for smoke in found.layers.values()} == {"channels_last_3d"}


def test_times_are_representative_and_complete() -> None:
    """Two inputs, autocast, cuDNN's choice by trial; memory at its highest."""
    timings = smoked(network, SHAPE, device=CUDA).smoke.timings
    assert [(t.autocast, t.cudnn_benchmark, (t.input_shape or [0])[0]) for t in timings] == [
        (False, False, 2),
        (False, True, 2),
        (False, False, 1),
        (True, False, 2),
    ]
    for timing in timings:
        assert timing.representative
        assert timing.rounds >= 8
        assert 0 < timing.contiguous_s < 1
        assert timing.contiguous_peak_bytes is not None
        assert timing.contiguous_peak_bytes > 2 * 64 * 16 * 32 * 32 * 2


def test_every_convolution_has_a_known_route() -> None:
    """cuDNN's, with the layout that the weights ask for; and none falls back."""
    smoke = smoked(network, SHAPE, device=CUDA).smoke
    by_weights = {
        weights: {d.layer: d for d in smoke.dispatch if d.weights == weights}
        for weights in ("contiguous", "converted")
    }
    assert set(by_weights["converted"]) == {"0", "3", "4", "5"}
    assert set(by_weights["contiguous"]) == set(by_weights["converted"])
    for dispatch in smoke.dispatch:
        assert dispatch.kernels, dispatch
        assert dispatch.seconds > 0
        assert dispatch.route.startswith("cudnn"), dispatch
    assert by_weights["converted"]["4"].route != "cudnn-ncdhw"
    assert {kernels.weights for kernels in smoke.layout_kernels} == {"contiguous", "converted"}
    assert all(0 <= kernels.share <= 1 for kernels in smoke.layout_kernels)


def test_an_instance_norm_breaks_the_chain_here_too() -> None:
    """And the profiler sees the permutations."""
    smoke = smoked(partial(network, nn.InstanceNorm3d(64)), SHAPE, device=CUDA).smoke
    assert "InstanceNorm3d" in {flip.kind for flip in smoke.flips}
    converted = next(k for k in smoke.layout_kernels if k.weights == "converted")
    assert converted.number > 0


def test_a_view_fails_and_is_located() -> None:
    """As on a CPU."""
    found = smoked(Viewing, SHAPE, device=CUDA)
    assert found.smoke.status == "failed"
    assert found.faults[0].failure is not None
    assert found.faults[0].failure.operator == "aten::view"


def test_a_corrupting_layout_is_pinned_on_its_layer() -> None:
    """As on a CPU."""
    found = smoked(
        lambda: nn.Sequential(nn.Conv3d(16, 32, 3), Corrupting(32, 32, 3), nn.ReLU()),
        SHAPE,
        device=CUDA,
    )
    assert found.smoke.status == "failed"
    assert "1 (Corrupting)" in found.faults[0].message


def test_a_variance_beyond_fp16_is_cured_in_float32() -> None:
    """As on a CPU: finite, wrong, and right with the norm in fp32."""

    def make() -> nn.Module:
        model = cast(nn.Sequential, network())
        norm = cast(nn.BatchNorm3d, model[1])
        with torch.no_grad():
            cast(Tensor, norm.running_var).fill_(1e6)
            cast(nn.Conv3d, model[0]).weight.mul_(1e3)
            norm.bias.fill_(0.1)
        return model

    smoke = smoked(make, SHAPE, device=CUDA).smoke
    assert smoke.status == "passed_with_findings"
    assert smoke.kept_in_float32 is not None
    assert (smoke.kept_in_float32.modules, smoke.kept_in_float32.helps) == (["1"], True)


def test_the_emulation_agrees_with_the_gpu() -> None:
    """A whole model on the CPU, emulated, against native fp16."""
    subject = subject_of(network, SHAPE)
    outcomes = []
    for device in (CPU, CUDA):
        specimen = Specimen(subject, converted_of(subject), device)
        specimen.cast(torch.float16)
        outcome = specimen.run(Way(1))
        assert isinstance(outcome, dict)
        outcomes.append({name: output.cpu() for name, output in outcome.items()})
    assert parity_of(*outcomes, pair="device", threshold=LAYOUT_THRESHOLD).passed


def test_what_is_chosen_is_no_slower_than_the_better_of_all_and_none() -> None:
    """Measured once more, beside both."""
    subject = subject_of(partial(network, nn.InstanceNorm3d(64)), SHAPE)
    make = partial(Specimen, subject, converted_of(subject), CUDA)
    choice = choose_on_accelerator(make, 2)
    none, chosen = pair_of(make, torch.float16)
    chosen.lay_out(choice.layers)
    everything = make()
    everything.cast(torch.float16)
    everything.lay_out()
    for rival in (none, everything):
        found = race_of((rival, chosen), Setting(2), 5.0)
        assert found.speedup > 1 - max(0.03, 2 * found.spread)


def test_an_input_beyond_the_memory_is_shrunk(little_memory: None) -> None:
    """The model has its verdict, and the device works afterwards."""
    found = smoked(network, (16, 128, 128, 128), Request(samples=8), device=CUDA)
    assert found.smoke.status == "passed"
    assert found.halvings > 0
    torch.cuda.empty_cache()
    assert smoked(network, SHAPE, device=CUDA).halvings == 0


@pytest.fixture
def module_file(tmp_path: Path) -> Path:
    """A file that is its own model."""
    torch.save(network().eval(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_fastest_converts_what_was_chosen_and_nothing_else(
    module_file: Path, tmp_path: Path
) -> None:
    """End to end: the artifact has the layers that the report says were chosen."""
    options = Options(select=("fastest",), input_shape=(2, *SHAPE))
    report = convlast.convert(module_file, tmp_path / "out.pt", options, device="cuda")
    assert report.smoke is not None
    assert report.smoke.choice is not None
    converted = [layer.name for layer in report.layers if layer.status == "converted"]
    assert converted == report.smoke.choice.layers
    assert report.advice is not None
    assert report.advice.decision in {"convert", "convert_some", "keep"}


def test_a_speedup_that_nothing_reaches_fails(module_file: Path, tmp_path: Path) -> None:
    """And no artifact is left."""
    options = Options(min_speedup=1000.0, input_shape=(2, *SHAPE))
    with pytest.raises(VerificationError, match="min_speedup asks for"):
        convlast.convert(module_file, tmp_path / "out.pt", options, device="cuda")
    assert not (tmp_path / "out.pt").exists()


def test_known_trouble_is_asked_of_the_device() -> None:
    """A GPU of this decade with the cuDNN that its PyTorch brings has none."""
    assert {trouble.code for trouble in troubles_on(CUDA)} <= {"cudnn-avoided", "no-tensor-cores"}
    assert troubles_on(CPU) == []


class Mixed(nn.Module):
    """A 2-D convolution between two 3-D ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(16, 32, 3, padding=1)
        self.flat = nn.Conv2d(32, 32, 3, padding=1)
        self.last = nn.Conv3d(32, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = self.first(x)
        n, c, d, h, w = x.shape
        x = self.flat(x.transpose(1, 2).reshape(n * d, c, h, w))
        return cast(Tensor, self.last(x.reshape(n, d, c, h, w).transpose(1, 2)))


def test_kernels_of_a_2d_convolution_are_given_to_no_layer() -> None:
    """The profiler sees all three, and the report names two."""
    smoke = smoked(Mixed, SHAPE, device=CUDA).smoke
    assert smoke.dispatch_reason is None
    for weights in ("contiguous", "converted"):
        found = [d for d in smoke.dispatch if d.weights == weights]
        assert [d.layer for d in found] == ["first", "last"]
        assert all(d.kernels and d.route.startswith("cudnn") for d in found)


def test_each_session_of_the_profiler_sees_each_convolution() -> None:
    """The first kernels of a session vanish, and are none of the model's."""
    specimen = Specimen(subject_of(network, SHAPE), {}, CUDA)
    specimen.cast(torch.float16)
    for _ in range(5):
        found = profile(specimen, Way(2), "contiguous")
        assert found.reason is None
        assert [len(d.kernels) > 0 for d in found.dispatches] == [True] * 4


def test_float32_proper_is_compared_in_channels_last_or_no_fault_is_found() -> None:
    """Whether or not cuDNN has such kernels, a sound layout is not blamed."""
    subject = subject_of(network, SHAPE)
    specimen = Specimen(subject, converted_of(subject), CUDA)
    reference = specimen.run(Way(2))
    assert isinstance(reference, dict)
    parity, fault = judge_layout_in_float32(specimen, reference, Way(2))
    assert fault is None
    assert parity is None or parity.passed is not False
