"""Single convolutions in both layouts: their kernels, their times, and how far they are off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from convlast.layout.memory_format import strides_of
from convlast.smoke.precision import exact_float32
from scripts.gpu.device import Device
from scripts.gpu.sanity.profiler import Profiler

LAST = torch.channels_last_3d
_SMALLEST = 4


@dataclass(frozen=True)
class Case:
    """A convolution.

    Attributes:
        shape: (N, C, D, H, W) of its input.
        weight: (O, I / groups, D, H, W); transposed: (I, O / groups, D, H, W).
        stride: As PyTorch takes it; so are the others.
        padding: See there.
        groups: See there.
        is_transposed: Whether it is one.
    """

    shape: tuple[int, ...]
    weight: tuple[int, ...]
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] = 0
    groups: int = 1
    is_transposed: bool = False

    def on(self, device: Device, dtype: torch.dtype) -> Operands:
        """Draw an input and a weight, always the same ones; in a rehearsal for a tiny volume."""
        generator = torch.Generator().manual_seed(7)
        shape = self.shape if device.is_gpu else self._tiny_shape()
        fan = self.weight[1] * self.weight[2] * self.weight[3] * self.weight[4]
        volume = torch.randn(shape, generator=generator)
        weight = torch.randn(self.weight, generator=generator) / fan**0.5
        function = functional.conv_transpose3d if self.is_transposed else functional.conv3d
        run = partial(function, stride=self.stride, padding=self.padding, groups=self.groups)
        return Operands(volume.to(device.where, dtype), weight.to(device.where, dtype), run)

    def _tiny_shape(self) -> tuple[int, ...]:
        extents = zip(self.shape[2:], self.weight[2:], strict=True)
        tiny = (min(extent, max(kernel, _SMALLEST)) for extent, kernel in extents)
        return (*self.shape[:2], *tiny)


@dataclass(frozen=True)
class Operands:
    """What a convolution is computed from, and what computes it."""

    volume: Tensor
    weight: Tensor
    run: Callable[..., Tensor]


CASES: Mapping[str, Case] = {
    "64-64 k3": Case((2, 64, 32, 32, 32), (64, 64, 3, 3, 3), padding=1),
    "3-64 k7 s2": Case((2, 3, 16, 112, 112), (64, 3, 3, 7, 7), (1, 2, 2), (1, 3, 3)),
    "1-16 k3": Case((2, 1, 96, 96, 96), (16, 1, 3, 3, 3), padding=1),
    "4-32 k3": Case((2, 4, 64, 64, 64), (32, 4, 3, 3, 3), padding=1),
    "T 64-32 k2 s2": Case((2, 64, 32, 32, 32), (64, 32, 2, 2, 2), 2, is_transposed=True),
    "T 64-64 k3": Case((2, 64, 32, 32, 32), (64, 64, 3, 3, 3), padding=1, is_transposed=True),
    "64-64 k1": Case((2, 64, 32, 32, 32), (64, 64, 1, 1, 1)),
    "64-64 k311": Case((2, 64, 16, 56, 56), (64, 64, 3, 1, 1), padding=(1, 0, 0)),
    "depthwise 64": Case((2, 64, 16, 56, 56), (64, 1, 3, 3, 3), padding=1, groups=64),
    "groups 8": Case((2, 64, 32, 32, 32), (64, 8, 3, 3, 3), padding=1, groups=8),
    "T depthwise 32": Case((2, 32, 16, 16, 16), (32, 1, 3, 3, 3), 1, 1, 32, is_transposed=True),
    "13-7 k3": Case((2, 13, 32, 32, 32), (7, 13, 3, 3, 3), padding=1),
    "64-1 k1": Case((2, 64, 48, 48, 48), (1, 64, 1, 1, 1)),
    "512-512 k3": Case((2, 512, 10, 10, 10), (512, 512, 3, 3, 3), padding=1),
    "patch 768": Case((2, 3, 16, 224, 224), (768, 3, 2, 16, 16), (2, 16, 16)),
}
"""The layers that models are made of, by what they take and give; T: transposed."""

IN_FLOAT32 = ("64-64 k3", "T 64-32 k2 s2", "1-16 k3", "depthwise 64", "512-512 k3")
"""Those whose fp32 is looked at: the smoke's reference, in either layout."""


@torch.no_grad()
def in_half(name: str, profiler: Profiler) -> dict[str, Any]:
    """Run a convolution in fp16: contiguous, converted, and with a channels-last input as well."""
    device = profiler.device
    operands = CASES[name].on(device, device.half)
    volume, weight, run = operands.volume, operands.weight, operands.run
    strides = strides_of(weight.shape, "channels_last_3d")
    converted = torch.empty_strided(
        weight.shape, strides, dtype=weight.dtype, device=weight.device
    ).copy_(weight)
    pairs = {
        "contiguous": (volume, weight),
        "converted": (volume, converted),
        "converted, channels-last input": (volume.to(memory_format=LAST), converted),
    }
    with exact_float32():
        exact = run(volume.float(), weight.float())
    first = run(volume, weight)
    return {way: _seen(partial(run, *pair), exact, first, profiler) for way, pair in pairs.items()}


def _seen(
    run: Callable[[], Tensor], exact: Tensor, contiguous: Tensor, profiler: Profiler
) -> dict[str, Any]:
    """Look at one way: its time, its error, its layout, its kernels."""
    output, scale = run(), float(exact.abs().max())
    return {
        "seconds": profiler.device.seconds_of(run),
        "off_float32": float((output.float() - exact).abs().max()) / scale,
        "off_contiguous": float((output.float() - contiguous.float()).abs().max()) / scale,
        "same_twice": torch.equal(output, run()),
        "output_is_channels_last": output.is_contiguous(memory_format=LAST),
        "output_stride": output.stride(),
        **profiler.kernels_of(run),
    }


@torch.no_grad()
def in_float32(name: str, device: Device) -> dict[str, Any]:
    """Run a convolution in fp32 and in TF32, in both layouts, against fp64 on the CPU."""
    operands = CASES[name].on(device, torch.float32)
    volume, weight, run = operands.volume, operands.weight, operands.run
    exact = run(volume.double().cpu(), weight.double().cpu())
    weights = {"contiguous": weight, "converted": weight.to(memory_format=LAST)}
    setting = torch.backends.cudnn.conv  # type: ignore[attr-defined] # set on the module at run time
    found, before = {}, setting.fp32_precision
    try:
        for precision in ("ieee", "tf32"):
            setting.fp32_precision = precision
            for layout, laid_out in weights.items():
                output = run(volume, laid_out).double().cpu()
                found[f"{precision}, {layout}"] = {
                    "seconds": device.seconds_of(partial(run, volume, laid_out), 5),
                    "off_float64": float((output - exact).abs().max() / exact.abs().max()),
                }
    finally:
        setting.fp32_precision = before
    return found
