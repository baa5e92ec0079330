"""One convolution, run alone: what the file says about it, and what has to be assumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from convlast.checkpoints.declaration import Hyperparameters
from convlast.report import Kind
from convlast.smoke.precision import is_native

BATCH = 2
"""Samples in a smoke input: errors of the layout show only with two or more."""

SMALLEST, LARGEST = 3, 16
"""Bounds of the chosen spatial extents; with 3 there is a border and an inside."""

FARTHEST = 64
"""The largest spatial extent that is chosen because the kernel is dilated."""

MACS = 1 << 27
"""Multiply-adds of one run on a CPU: a few milliseconds, so that 200 layers take seconds."""

ACCELERATION = 1 << 7
"""How many times as many multiply-adds run on an accelerator: its choice of kernels depends on
realistic sizes."""


@dataclass(frozen=True)
class Convolution:
    """A convolution weight and what is known of its layer.

    Attributes:
        name: The key of the weight.
        kind: The kind of its layer; `unknown` is run as a Conv3d.
        shape: (O, I / groups, D, H, W) of a Conv3d, (I, O / groups, D, H, W) of a ConvTranspose3d.
        groups: None if the file does not say; then 1 is assumed.
        contiguous: Reads the original weight, on the CPU. Its values matter, its strides do not.
        converted: Reads the weight as it is in the artifact, with its strides, on the CPU.
        known: Its stride, padding and dilation, if the file says them.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    groups: int | None
    contiguous: Callable[[], Tensor]
    converted: Callable[[], Tensor]
    known: Hyperparameters | None = None

    @property
    def is_transposed(self) -> bool:
        """Whether this is run as a ConvTranspose3d."""
        return self.kind == "ConvTranspose3d"

    @property
    def taken_groups(self) -> int:
        """The number of groups that this is run with."""
        return 1 if self.groups is None else self.groups

    @property
    def in_channels(self) -> int:
        """The number of channels of the input."""
        return self.shape[0] if self.is_transposed else self.shape[1] * self.taken_groups

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The known hyperparameters, or defaults that keep the spatial size for an odd kernel."""
        halves = tuple(extent // 2 for extent in self.shape[2:])
        return self.known or Hyperparameters((1, 1, 1), halves, (1, 1, 1))

    @property
    def padding(self) -> tuple[int, ...]:
        """The padding on each side, in each dimension."""
        return self.hyperparameters.padding

    @property
    def reach(self) -> tuple[int, ...]:
        """The distance from the first to the last element of the kernel, in each dimension."""
        steps = zip(self.hyperparameters.dilation, self.shape[2:], strict=True)
        return tuple(dilation * (extent - 1) for dilation, extent in steps)

    @property
    def assumed(self) -> list[str]:
        """The assumptions that this is run with, because the file does not say, in words."""
        words = []
        if self.known is None:
            words += ["stride 1", f"padding {self.padding}", "dilation 1"]
        if self.groups is None:
            words.append(f"groups {self.taken_groups}")
        if self.kind == "unknown":
            words.append("Conv3d")
        return words


Convolve: TypeAlias = Callable[[Convolution, Tensor, Tensor], Tensor]
"""Runs a convolution on an input and a weight."""


def convolve(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
    """Run a convolution as `torch.nn` does, with its known and assumed hyperparameters.

    Args:
        convolution: The convolution to run.
        activation: (N, C, D, H, W)
        weight: Of `convolution.shape`, with the dtype and device of the input.
    """
    operator = F.conv_transpose3d if convolution.is_transposed else F.conv3d
    return operator(
        activation,
        weight,
        stride=convolution.hyperparameters.stride,
        padding=convolution.padding,
        dilation=convolution.hyperparameters.dilation,
        groups=convolution.taken_groups,
    )


def input_shape_of(
    convolution: Convolution, device: torch.device, given: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Return the shape (N, C, D, H, W) of an input for this convolution.

    The number of channels is always the layer's own. If no shape is given, each spatial extent is
    as large as the device's budget of multiply-adds allows, and larger than the padding, so that
    every weight meets a value that is not padding.
    """
    if given is not None:
        return (given[0], convolution.in_channels, *given[2:])
    scale = ACCELERATION if is_native(device) else 1
    positions = MACS * scale / (BATCH * prod(convolution.shape))
    largest = 2 * LARGEST if is_native(device) else LARGEST
    extent = min(int(positions ** (1 / 3)), largest)
    extents = (
        max(extent, SMALLEST, padding + 1, min(reach + 1 - 2 * padding, FARTHEST))
        for padding, reach in zip(convolution.padding, convolution.reach, strict=True)
    )
    return (BATCH, convolution.in_channels, *extents)


def fits(convolution: Convolution, input_shape: tuple[int, ...]) -> bool:
    """Say whether an input of this shape gives an output that is not empty."""
    return all(
        (
            (extent - 1) * stride + 1 - 2 * padding + reach
            if convolution.is_transposed
            else extent + 2 * padding - reach
        )
        > 0
        for extent, stride, padding, reach in zip(
            input_shape[2:],
            convolution.hyperparameters.stride,
            convolution.padding,
            convolution.reach,
            strict=True,
        )
    )


def make_input(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draw a normally distributed input, the same each time, without PyTorch's own generators."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
