"""Kernels by name, from profiles put together by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from convlast.smoke.model.dispatch import (
    Ran,
    Route,
    _kernels,
    convolutions_in,
    dispatch_of,
    layout_kernels_of,
    route_of,
)

CUDNN = ("aten::cudnn_convolution", "aten::_convolution", "aten::convolution")


@dataclass
class Event:
    """One event, as the profiler has it."""

    name: str
    kernels: list[Any] = field(default_factory=list)
    cpu_children: list[Event] = field(default_factory=list)
    cpu_parent: Event | None = None
    start: int = 0

    @property
    def time_range(self) -> Any:
        """When it ran."""
        return SimpleNamespace(start=self.start)


def nested(*names: str, kernel: str, start: int = 0) -> Event:
    """Return an event within others, the outermost first, that launched one kernel of 10 µs."""
    event = Event(names[-1], [SimpleNamespace(name=kernel, duration=10)], start=start)
    for name in reversed(names[:-1]):
        outer = Event(name, cpu_children=[event], start=start)
        event.cpu_parent = outer
        event = outer
    return event


def flat(event: Event) -> list[Event]:
    """Return an event and all within it, as the profiler lists them."""
    return [event, *(inner for child in event.cpu_children for inner in flat(child))]


@pytest.mark.parametrize(
    ("kernels", "operators", "route"),
    [
        (["sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x64"],
         CUDNN, "cudnn-ndhwc"),
        (["cutlass__5x_cudnn::Kernel<cutlass_tensorop_f16_s16816fprop_optimized_ndhwc_align8>"],
         CUDNN, "cudnn-ndhwc"),
        (["void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>",
          "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128"],
         CUDNN, "cudnn-ncdhw"),
        (["void implicit_convolveNd_sgemm<__half, 3, 128, 5, 5, 3, 3, 3, 1, true>"],
         CUDNN, "cudnn"),
        (["void at::native::vol2col_kernel<c10::Half>"],
         ("aten::slow_conv_dilated3d", "aten::convolution"), "slow"),
        (["conv_depthwise3d_cuda_kernel<c10::Half>"],
         ("aten::_conv_depthwise3d", "aten::convolution"), "native"),
        (["some_new_kernel"], ("aten::convolution",), "unknown"),
    ],
)  # fmt: skip
def test_a_route_is_recognised(
    kernels: list[str], operators: tuple[str, ...], route: Route
) -> None:
    """By operators first, which PyTorch names, then by kernels."""
    assert route_of([Ran(name, 1.0, operators) for name in kernels]) == route


def test_convolutions_are_found_once_and_in_order() -> None:
    """An inner event of the same convolution is part of the outer one."""
    outer = ("aten::conv3d", "aten::convolution", "aten::_convolution", "aten::cudnn_convolution")
    late, early = (
        nested(*outer, kernel="late_nhwc", start=9),
        nested("aten::_convolution", "aten::cudnn_convolution", kernel="early_nhwc", start=1),
    )
    found = convolutions_in([*flat(late), *flat(early)])
    assert [event.name for event in found] == ["aten::_convolution", "aten::convolution"]
    assert [ran.name for event in found for ran in _kernels(event)] == ["early_nhwc", "late_nhwc"]


def test_the_longest_kernel_stands_first() -> None:
    """And times are added up."""
    kernels = [Ran("short", 1.0, CUDNN), Ran("long_nhwc", 3.0, CUDNN), Ran("short", 1.0, CUDNN)]
    found = dispatch_of("conv1", "converted", kernels)
    assert (found.kernels, found.seconds, found.route) == (
        ["long_nhwc", "short"],
        5.0,
        "cudnn-ndhwc",
    )


def test_kernels_that_only_permute_are_added_up() -> None:
    """CuDNN's own by name, PyTorch's copies by the operator that they ran for."""
    kernels = [
        Ran("void cudnn::ops::nchwToNhwcKernel<half>", 1.0, CUDNN),
        Ran("direct_copy_kernel", 1.0, ("aten::copy_", "aten::clone", "aten::contiguous")),
        Ran("sm80_xmma_nhwc", 8.0, CUDNN),
    ]
    found = layout_kernels_of(kernels, "converted")
    assert (found.number, found.share) == (2, 0.2)
    assert layout_kernels_of([], "converted").share == 0
