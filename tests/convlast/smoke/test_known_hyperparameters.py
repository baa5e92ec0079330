"""A convolution whose stride, padding and dilation are known is run with them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from convlast.checkpoints.declaration import Hyperparameters
from convlast.report import Kind
from convlast.smoke.convolution import Convolution, convolve, fits, input_shape_of

CPU = torch.device("cpu")


def convolution(kind: Kind, known: Hyperparameters | None) -> Convolution:
    """A convolution of 4 by 4 channels and three different extents."""
    weight = torch.randn(4, 4, 3, 2, 1)
    return Convolution("w", kind, tuple(weight.shape), 1, lambda: weight, lambda: weight, known)


@pytest.mark.parametrize("kind", ["Conv3d", "ConvTranspose3d"])
def test_it_runs_as_the_module_does(kind: Kind) -> None:
    """Stride, padding and dilation all count, each in its own dimension."""
    known = Hyperparameters((2, 1, 3), (1, 0, 0), (2, 3, 1))
    owner = convolution(kind, known)
    sample = torch.randn(input_shape_of(owner, CPU, None))
    operator = F.conv3d if kind == "Conv3d" else F.conv_transpose3d
    expected = operator(
        sample, owner.contiguous(), stride=(2, 1, 3), padding=(1, 0, 0), dilation=(2, 3, 1)
    )
    assert torch.equal(convolve(owner, sample, owner.contiguous()), expected)
    assert owner.assumed == []


@pytest.mark.parametrize("kind", ["Conv3d", "ConvTranspose3d"])
@pytest.mark.parametrize("extent", range(1, 9))
@pytest.mark.parametrize(
    "known",
    [
        Hyperparameters((2, 1, 3), (0, 0, 0), (3, 4, 1)),
        Hyperparameters((1, 2, 1), (2, 1, 0), (1, 1, 1)),
    ],
)
def test_what_fits_is_what_pytorch_takes(kind: Kind, extent: int, known: Hyperparameters) -> None:
    """An input that is said to fit gives an output; one that is not makes PyTorch raise."""
    owner = convolution(kind, known)
    shape = (1, 4, extent, extent, extent)
    try:
        takes = convolve(owner, torch.zeros(shape), owner.contiguous()).numel() > 0
    except RuntimeError:
        takes = False
    assert fits(owner, shape) == takes


def test_a_dilated_kernel_gets_an_input_as_large_as_its_reach() -> None:
    """A kernel of three that is dilated by 20, without padding, spans 41."""
    owner = convolution("Conv3d", Hyperparameters((1, 1, 1), (0, 0, 0), (20, 1, 1)))
    shape = input_shape_of(owner, CPU, None)
    assert shape[2] == 41
    assert fits(owner, shape)


def test_a_reach_beyond_reason_gets_no_input_to_match() -> None:
    """An input is never made larger than 64 for a dilation; the layer is skipped instead."""
    owner = convolution("Conv3d", Hyperparameters((1, 1, 1), (0, 0, 0), (1000, 1, 1)))
    shape = input_shape_of(owner, CPU, None)
    assert shape[2] == 64
    assert not fits(owner, shape)
