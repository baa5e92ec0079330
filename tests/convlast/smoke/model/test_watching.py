"""A watched forward: convolutions that cuDNN refuses, and programs without fused operators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from convlast.smoke.model.events import Failure
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.watching import Watch
from tests.subjects import CPU, Refusing, converted_of, smoked, subject_of

SHAPE = (3, 12, 12, 12)


def network() -> nn.Module:
    """Return two convolutions."""
    return nn.Sequential(nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 4, 3, padding=2))


def is_large(activation: Tensor, _weight: Tensor) -> bool:
    """Refuse inputs of more than six in an extent."""
    return activation.shape[2] > 6


def is_converted(_activation: Tensor, weight: Tensor) -> bool:
    """Refuse channels-last weights."""
    return weight.stride(1) == 1


def test_a_convolution_that_runs_on_less_wants_memory() -> None:
    """If cuDNN has no memory for a kernel, the input gets smaller, and the model is judged."""
    with Refusing(is_large) as cudnn:
        found = smoked(network, SHAPE)
    assert (found.smoke.status, found.halvings, found.faults) == ("passed", 1, [])
    assert cudnn.refused == 1


def test_a_layout_that_is_refused_at_every_size_is_at_fault() -> None:
    """If cuDNN has no kernel at all, no smaller input is tried."""
    with Refusing(is_converted):
        found = smoked(network, SHAPE)
    assert (found.smoke.status, found.halvings) == ("failed", 0)
    assert "unable to find an engine" in found.faults[0].message


@pytest.mark.parametrize("dilation", [1, 5])
def test_the_smaller_input_is_not_smaller_than_the_kernel(dilation: int) -> None:
    """The smaller input is at least as large as the kernel."""
    subject = subject_of(lambda: nn.Sequential(nn.Conv3d(3, 8, 3, dilation=dilation)), SHAPE)
    specimen = Specimen(subject, {}, CPU)
    cudnn = Refusing(lambda activation, _: activation.shape[2] > 11)
    with cudnn, pytest.raises(MemoryError):
        specimen.run(Way(2))
    assert cudnn.refused == 1


def test_an_operator_in_two_dimensions_that_is_refused_is_a_result() -> None:
    """Only 3-D convolutions are tried again."""

    class Flat(nn.Module):
        """One 2-D convolution."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            return cast(Tensor, self.conv(x[:, :, 0]))

    with Refusing(lambda *_: True):
        assert isinstance(Specimen(subject_of(Flat, SHAPE), {}, CPU).run(Way(2)), Failure)


def pointwise(x: Tensor) -> Tensor:
    """Be fused, on a GPU."""
    return torch.sigmoid(torch.relu(x + 1.0) * 2.0)


def test_a_program_is_run_as_it_is_written_while_it_is_watched() -> None:
    """TorchScript's optimizer, which fuses operators, is off while a program is watched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it, and files of it are there
        program = cast(Callable[[Tensor], Tensor], torch.jit.script(pointwise))
    names: list[str] = []
    x = torch.ones(2)
    is_optimizing: Callable[[], bool] = torch._C._get_graph_executor_optimize
    before = is_optimizing()
    watch = Watch(
        nn.Identity(), takes_hooks=False, on_operation=lambda found: names.append(found.name)
    )
    with watch:
        assert not is_optimizing()
        program(x)
    assert is_optimizing() is before is True
    assert names == ["aten::add", "aten::relu", "aten::mul", "aten::sigmoid"]


def test_the_optimizer_is_on_again_after_a_forward_that_raises() -> None:
    """The optimizer setting of the calling program is restored."""
    subject = subject_of(network, SHAPE)
    with Refusing(lambda *_: True):
        assert isinstance(Specimen(subject, converted_of(subject), CPU).run(Way(2)), Failure)
    assert torch._C._get_graph_executor_optimize()
