"""Permutations by modules, by operators in a model's own code, and by programs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.trace import Trace
from tests.subjects import CPU, converted_of, subject_of


def trace_of(make: Callable[[], nn.Module], channels: int = 4) -> Trace:
    """Trace a model with converted weights and a contiguous input, in fp32."""
    subject = subject_of(make, (channels, 4, 4, 4))
    specimen = Specimen(subject, converted_of(subject), CPU)
    specimen.lay_out()
    trace = Trace()
    outcome = specimen.run(Way(2, on_operation=trace.note_operation, on_turn=trace.note_turn))
    assert isinstance(outcome, dict)
    return trace


def between(*layers: nn.Module) -> Callable[[], nn.Module]:
    """Return a function that makes a model with layers between two convolutions."""
    return lambda: nn.Sequential(nn.Conv3d(4, 8, 3, padding=1), *layers, nn.Conv3d(8, 8, 1))


@pytest.mark.parametrize(
    "layer",
    [nn.InstanceNorm3d(8, affine=True), nn.AvgPool3d(2),
     nn.AdaptiveAvgPool3d(2), nn.Softmax(1)],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_a_layer_that_breaks_the_chain_is_named(layer: nn.Module) -> None:
    """A module that breaks the chain is found, and the convolution after it that permutes back."""
    trace = trace_of(between(layer))
    breaks, returns = trace.flips()
    assert (breaks.module, breaks.kind) == ("1", type(layer).__name__)
    assert (returns.module, returns.cause) == ("2", "1")
    assert trace.permutations.number == 3
    step = next(step for step in trace.steps() if step.module == "1")
    assert (step.input_memory_format, step.output_memory_format, step.permutes) == (
        "channels_last_3d", "contiguous_format", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.SiLU(), nn.Upsample(scale_factor=2),
     nn.ConvTranspose3d(8, 8, 2, stride=2), nn.Dropout3d()],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_a_layer_that_keeps_the_chain_costs_nothing(layer: nn.Module) -> None:
    """Layers that keep the layout need one permutation, at the first convolution: the best case."""
    trace = trace_of(between(layer))
    assert trace.flips() == []
    assert trace.permutations.number == trace.permutations.best_number == 1
    assert trace.permutations.bytes == 2 * 4 * 4**3 * 4
    assert not any(step.permutes for step in trace.steps()[1:])


def test_one_channel_lies_alike_in_both_layouts() -> None:
    """An input with one channel has both layouts, so not even the first convolution permutes."""
    trace = trace_of(lambda: nn.Sequential(nn.Conv3d(1, 8, 3)), channels=1)
    assert (trace.permutations.number, trace.permutations.best_number) == (0, 0)


def test_code_between_modules_is_named_by_its_operator() -> None:
    """`cat` of a contiguous and a channels-last tensor, in the model's own forward."""

    class Skipping(nn.Module):
        """A skip connection around a convolution."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(4, 4, 3, padding=1)
            self.last = nn.Conv3d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            return cast(Tensor, self.last(torch.cat([x, self.conv(x)], 1)))

    trace = trace_of(Skipping)
    mixed = trace.flips()[0]
    assert (mixed.operator, mixed.kind) == ("aten::cat", "Skipping")
    assert any(step.kind == "aten::cat" for step in trace.steps())


def test_a_slice_is_no_permutation() -> None:
    """A view is not a permutation, and keeps the order of its tensor."""

    class Slicing(nn.Module):
        """Takes half of the channels."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(4, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            return cast(Tensor, self.conv(x)[:, :4].relu())

    assert trace_of(Slicing).flips() == []


def test_modules_that_run_often_are_counted() -> None:
    """A loop over frames gives one step for each module, not for each frame."""

    class Looping(nn.Module):
        """Runs a norm three times."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(4, 4, 3, padding=1)
            self.norm = nn.InstanceNorm3d(4)

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            for _ in range(3):
                x = self.norm(self.conv(x))
            return x

    trace = trace_of(Looping)
    norm = next(flip for flip in trace.flips() if flip.module == "norm")
    assert norm.times == 3
    assert [step.calls for step in trace.steps() if step.module == "norm"] == [3]


def test_a_program_has_operators_for_modules() -> None:
    """Operators of a program are named by the module whose weight they take, or numbered."""

    def make() -> nn.Module:
        model = nn.Sequential(nn.Conv3d(4, 8, 3), nn.AvgPool3d(2), nn.Conv3d(8, 8, 1)).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates it, and files of it are there
            return cast(nn.Module, torch.jit.script(model))

    eager = subject_of(
        lambda: nn.Sequential(nn.Conv3d(4, 8, 3), nn.AvgPool3d(2), nn.Conv3d(8, 8, 1)),
        (4, 6, 6, 6),
    )
    program = replace(eager, make_module=make, takes_hooks=False)
    specimen = Specimen(program, converted_of(eager), CPU)
    specimen.lay_out()
    trace = Trace()
    specimen.run(Way(2, on_operation=trace.note_operation, on_turn=trace.note_turn))
    names = [step.module for step in trace.steps()]
    assert names == ["0", "avg_pool3d_1", "2"]
    assert [flip.module for flip in trace.flips()] == ["avg_pool3d_1", "2"]


class Frames(nn.Module):
    """Convolves each frame of a video alone, beside the embedding of a time step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(4, 8, 3, padding=1)
        self.time = nn.Linear(4, 8)
        self.frame = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv3d(8, 4, 1)
        self.flatten = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = self.conv(x) + self.time(x[:, :, 0, 0, 0])[..., None, None, None]
        n, c, d, h, w = x.shape
        x = self.frame(x.transpose(1, 2).reshape(n * d, c, h, w))
        x = x.reshape(n, d, c, h, w).transpose(1, 2)
        return cast(Tensor, self.flatten(self.last(x)))


def test_the_chain_shows_where_5_d_ends() -> None:
    """Modules with 4-D activations are steps of the chain; those with fewer dimensions are not."""
    steps = trace_of(Frames).steps()
    assert [step.module for step in steps] == ["conv", "frame", "last", "flatten"]
    ranks = [(step.input_memory_format, step.output_memory_format) for step in steps]
    assert ranks[1] == ("4d", "4d")
    assert ranks[3] == (ranks[2][1], "2d")
    assert [step.permutes for step in steps[1:]] == [False, False, True]
