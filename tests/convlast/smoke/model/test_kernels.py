"""Kernels by name: cuDNN's own, as its library has them, and those of public profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convlast.smoke.model.kernels import Kernel, Route, layout_of, permutes, route_of

CUDNN = ("aten::cudnn_convolution", "aten::_convolution", "aten::convolution")
SLOW = ("aten::slow_conv_dilated3d", "aten::convolution")
NHWC = "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x64"
NCHW = "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nchw_tilesize128x128x64"
CUTLASS = "cutlass__5x_cudnn::Kernel<cutlass_tensorop_f16_s16816fprop_optimized_ndhwc_align8>"
TO_NHWC = "void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>"
TABLE = [
    tuple(line.split(maxsplit=1))
    for line in Path(__file__).with_name("kernels_of_cudnn.txt").read_text().splitlines()
    if not line.startswith("#")
]

RECORDED = Path(__file__).parents[4] / "benchmarks/results/gpu-h100/sanity.jsonl"
UNUSUAL = {
    # No kernel of cuDNN's, or one that takes either layout.
    ("depthwise 64", "contiguous"): "native",
    ("64-64 k1", "contiguous"): "cudnn",
    ("patch 768", "contiguous"): "cudnn",
    # Permutes to NCDHW inside.
    ("patch 768", "converted"): "cudnn-ncdhw",
    ("patch 768", "converted, channels-last input"): "cudnn-ncdhw",
}
"""What differs from a contiguous convolution that permutes, and a converted one that need not."""


def recorded() -> list[tuple[str, str, dict[str, Any]]]:
    """Return each convolution that ran in fp16 on an H100, its layout, and what was seen of it."""
    lines = map(json.loads, RECORDED.read_text().splitlines())
    return [
        (line["section"].removeprefix("fp16, "), layout, seen)
        for line in lines
        if line["section"].startswith("fp16, ")
        for layout, seen in line["found"].items()
    ]


@pytest.mark.parametrize(("case", "layout", "seen"), recorded())
def test_what_ran_on_an_h100_is_recognised(case: str, layout: str, seen: dict[str, Any]) -> None:
    """The kernels that cuDNN 9.19 ran for single convolutions on an H100 have the right route."""
    kernels = [
        Kernel(each["name"], each["microseconds"] / 1e6, tuple(each["operators"]))
        for each in seen["kernels"]
    ]
    usual = "cudnn-ncdhw" if layout == "contiguous" else "cudnn-ndhwc"
    route = route_of(kernels, is_channels_last=seen["output_is_channels_last"])
    assert route == UNUSUAL.get((case, layout), usual)


@pytest.mark.parametrize(("kind", "name"), TABLE, ids=[name for _, name in TABLE])
def test_each_kernel_of_cudnn_is_what_its_name_says(kind: str, name: str) -> None:
    """Kernels of cuDNN are recognised by their names, without the template arguments."""
    for written in (name, f"void {name}<__half, nchwToNhwc, float, 3>(Parameters)"):
        assert permutes(written) is (kind == "permutes")
    if kind != "permutes":
        assert layout_of(name) == (None if kind == "-" else kind)


@pytest.mark.parametrize(
    ("names", "operators", "is_channels_last", "route"),
    [
        ([NHWC], CUDNN, True, "cudnn-ndhwc"),
        ([CUTLASS], CUDNN, False, "cudnn-ndhwc"),
        ([NCHW], CUDNN, False, "cudnn-ncdhw"),
        ([TO_NHWC, NHWC], CUDNN, False, "cudnn-ncdhw"),
        ([TO_NHWC, NHWC], CUDNN, True, "cudnn-ncdhw"),
        (["transposeWarp_kernel", NHWC], CUDNN, True, "cudnn-ncdhw"),
        (["void nhwcAddPaddingKernel<half>", NHWC], CUDNN, True, "cudnn-ndhwc"),
        (["tensorTransformGeneric", NHWC], CUDNN, False, "cudnn-ndhwc"),
        (["void nchwAddPaddingKernel<half>", "convNd_kernel"], CUDNN, False, "cudnn-ncdhw"),
        (["void implicit_convolveNd_sgemm<__half, 3, 128, 5, 5, 3>"], CUDNN, True, "cudnn-ndhwc"),
        (["void implicit_convolveNd_sgemm<__half, 3, 128, 5, 5, 3>"], CUDNN, False, "cudnn"),
        (["cudnn::engines_precompiled::im2col4d_kernel", "sgemm"], CUDNN, False, "cudnn"),
        (["void at::native::vol2col_kernel<c10::Half>"], SLOW, True, "slow"),
        (["void at::native::vol2col_kernel<c10::Half>"], CUDNN, False, "slow"),
        (["conv_depthwise3d_cuda_kernel<c10::Half>"],
         ("aten::_conv_depthwise3d", "aten::convolution"), True, "native"),
        (["some_new_kernel"], ("aten::convolution",), True, "unknown"),
    ],
)  # fmt: skip
def test_a_route_is_recognised(
    names: list[str], operators: tuple[str, ...], is_channels_last: bool, route: Route
) -> None:
    """A route is recognised by operators first, then by permuting kernels, then by the output."""
    kernels = [Kernel(name, 1.0, operators) for name in names]
    assert route_of(kernels, is_channels_last=is_channels_last) == route
