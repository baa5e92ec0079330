"""What the names of GPU kernels say: which layout a kernel works in, or that it only permutes.

Kernel names are not a stable interface. Those here come from cuDNN 9.19's own library, from public
profiles, and from an H100; a convolution that matches none is `unknown`, with its kernels in the
report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Route = Literal["cudnn-ndhwc", "cudnn-ncdhw", "cudnn", "native", "slow", "unknown"]

COPY = "aten::copy_"
"""PyTorch's operator behind all calls that only copy: `contiguous`, `clone`, `to`, `copy_`."""

_SLOW = re.compile(r"aten::_?slow_conv|at::native::(?:vol2col|col2vol|im2col|col2im)")
_NATIVE = re.compile(r"aten::_?conv_depthwise3d")
_PERMUTING = re.compile(
    r"ncd?hw(?:to|2)(?:folded)?nd?hwc|nd?hwc(?:to|2)(?:folded)?ncd?hw|transpose\w*_kernel",
    re.IGNORECASE,
)
_LAST = re.compile(r"nd?hwc", re.IGNORECASE)
_FIRST = re.compile(r"ncd?hw", re.IGNORECASE)


@dataclass(frozen=True)
class Kernel:
    """One kernel that ran.

    Attributes:
        name: The profiler's name for it.
        seconds: How long it ran.
        operators: The operators that launched it, innermost first.
    """

    name: str
    seconds: float
    operators: tuple[str, ...]


def permutes(name: str) -> bool:
    """Say whether a kernel of cuDNN only changes a tensor's layout.

    Template arguments are ignored. A kernel that pads channels keeps the layout;
    `tensorTransformGeneric` may do either, and does not count.

    >>> permutes("void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>")
    True
    >>> permutes("void nhwcAddPaddingKernel<__half, __half, float>")
    False
    """
    return _PERMUTING.search(name.partition("<")[0]) is not None


def layout_of(name: str) -> Literal["ndhwc", "ncdhw"] | None:
    """Return the layout of the tensors that a kernel takes, if its name says so.

    `nhwckrsc_nchw` names both; such a kernel takes NCHW tensors.

    >>> layout_of("sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128")
    'ndhwc'
    >>> layout_of("sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nchw_tilesize128")
    'ncdhw'
    """
    if _FIRST.search(name):
        return "ncdhw"
    return "ndhwc" if _LAST.search(name) else None


def route_of(kernels: Sequence[Kernel], *, is_channels_last: bool) -> Route:
    """Recognise which implementation ran a convolution, and in which layout.

    If a kernel permutes, cuDNN had no kernel for the layout it was given, or the tensors were
    NCDHW. Otherwise a channels-last output shows that cuDNN was given NDHWC.

    Args:
        kernels: All kernels that ran for it.
        is_channels_last: Whether its output is channels-last.

    >>> slow = Kernel("void vol2col_kernel<half>", 1.0, ("aten::slow_conv_dilated3d",))
    >>> route_of([slow], is_channels_last=False)
    'slow'
    >>> fast = Kernel("xmma_fprop_nhwckrsc_nhwc", 1.0, ("aten::cudnn_convolution",))
    >>> route_of([fast], is_channels_last=True)
    'cudnn-ndhwc'
    """
    operators = " ".join(name for kernel in kernels for name in kernel.operators)
    names = [kernel.name for kernel in kernels]
    if _SLOW.search(operators) or any(map(_SLOW.search, names)):
        return "slow"
    if _NATIVE.search(operators):
        return "native"
    if "cudnn" not in operators:
        return "unknown"
    if any(map(permutes, names)):
        return "cudnn-ncdhw"
    if is_channels_last:
        return "cudnn-ndhwc"
    layouts = set(map(layout_of, names))
    if "ncdhw" in layouts:
        return "cudnn-ncdhw"
    return "cudnn-ndhwc" if "ndhwc" in layouts else "cudnn"
