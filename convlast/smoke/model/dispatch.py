"""Which kernels a forward ran on a GPU: cuDNN's by layout, PyTorch's own, its slow fallback.

Names of kernels are no interface: what they are recognised by was collected from public profiles,
and a kernel that none of it fits is `unknown`, with its name in the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from convlast.smoke import health
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke_report import Dispatch, LayoutKernels

Route = Literal["cudnn-ndhwc", "cudnn-ncdhw", "cudnn", "native", "slow", "unknown"]
Weights = Literal["contiguous", "converted"]

CONVOLUTIONS = ("aten::convolution", "aten::_convolution")

_SLOW = re.compile(r"slow_conv|vol2col|col2vol|im2col", re.IGNORECASE)
_NATIVE = re.compile(r"conv_depthwise3d", re.IGNORECASE)
_LAYOUT = re.compile(
    r"nchwToNhwc|nhwcToNchw|nchw2nhwc|nhwc2nchw|ncdhwToNdhwc|ndhwcToNcdhw|nhwcAddPadding"
    r"|transpose_readWrite|tensorTransform",
    re.IGNORECASE,
)
_LAST = re.compile(r"ndhwc|nhwc", re.IGNORECASE)
_FIRST = re.compile(r"ncdhw|nchw", re.IGNORECASE)
_COPIES = ("aten::clone", "aten::contiguous")


@dataclass(frozen=True)
class Ran:
    """One kernel that ran.

    Attributes:
        name: As the profiler calls it.
        seconds: How long it ran.
        operators: The operators that it ran for, the innermost first.
    """

    name: str
    seconds: float
    operators: tuple[str, ...]


def profile(
    specimen: Specimen, way: Way, layers: Sequence[str], weights: Weights
) -> tuple[list[Dispatch], LayoutKernels]:
    """Profile one forward, after another that warms up.

    Args:
        specimen: The model; on a CPU no kernels are seen.
        way: How it is run.
        layers: The modules of the convolutions, in the order of execution.
        weights: Which weights it has, for the report.
    """
    inputs = specimen.inputs(way)
    specimen.call(inputs, way)
    health.wait_for(specimen.device)
    with torch.profiler.profile(acc_events=True) as profiler:
        specimen.call(inputs, way)
        health.wait_for(specimen.device)
    events = list(profiler.events() or ())
    convolutions = [list(_kernels(event)) for event in convolutions_in(events)]
    kernels = [ran for event in events if event.cpu_parent is None for ran in _kernels(event)]
    dispatches = [
        dispatch_of(layer, weights, ran) for layer, ran in zip(layers, convolutions, strict=False)
    ]
    return dispatches, layout_kernels_of(kernels, weights)


def convolutions_in(events: Iterable[Any]) -> list[Any]:
    """Return the profiler's events that are a whole convolution, in the order of execution."""
    found = [
        event
        for event in events
        if event.name in CONVOLUTIONS
        and (event.cpu_parent is None or event.cpu_parent.name not in CONVOLUTIONS)
    ]
    return sorted(found, key=lambda event: event.time_range.start)


def dispatch_of(layer: str, weights: Weights, kernels: Sequence[Ran]) -> Dispatch:
    """Say which way a convolution went, from its kernels."""
    longest = sorted(kernels, key=lambda ran: ran.seconds, reverse=True)
    return Dispatch(
        layer=layer,
        weights=weights,
        route=route_of(kernels),
        kernels=list(dict.fromkeys(ran.name for ran in longest)),
        seconds=sum(ran.seconds for ran in kernels),
    )


def route_of(kernels: Sequence[Ran]) -> Route:
    """Recognise the way that a convolution went.

    A kernel that permutes says that the tensors were NCDHW, whatever the kernel behind it takes.

    >>> route_of([Ran("void vol2col_kernel<half>", 1.0, ("aten::slow_conv_dilated3d",))])
    'slow'
    >>> cudnn = ("aten::cudnn_convolution",)
    >>> route_of([Ran("sm80_xmma_fprop_f16f16_nhwckrsc_nhwc_tilesize128", 1.0, cudnn)])
    'cudnn-ndhwc'
    """
    operators = " ".join(name for ran in kernels for name in ran.operators)
    names = [ran.name for ran in kernels]
    if _SLOW.search(operators) or any(map(_SLOW.search, names)):
        return "slow"
    if _NATIVE.search(operators):
        return "native"
    if "cudnn" not in operators:
        return "unknown"
    if any(map(_LAYOUT.search, names)):
        return "cudnn-ncdhw"
    if any(map(_LAST.search, names)):
        return "cudnn-ndhwc"
    return "cudnn-ncdhw" if any(map(_FIRST.search, names)) else "cudnn"


def layout_kernels_of(kernels: Sequence[Ran], weights: Weights) -> LayoutKernels:
    """Add up the kernels that only permute: cuDNN's own, and PyTorch's copies."""
    moving = [
        ran
        for ran in kernels
        if _LAYOUT.search(ran.name) or any(name in _COPIES for name in ran.operators)
    ]
    total_s, seconds = sum(ran.seconds for ran in kernels), sum(ran.seconds for ran in moving)
    share = seconds / total_s if total_s else 0.0
    return LayoutKernels(weights=weights, number=len(moving), seconds=seconds, share=share)


def _kernels(event: Any, operators: tuple[str, ...] = ()) -> Iterator[Ran]:
    """Yield the kernels that an event and those within it launched."""
    operators = (event.name, *operators)
    for kernel in event.kernels:
        yield Ran(kernel.name, kernel.duration / 1e6, operators)
    for child in event.cpu_children:
        yield from _kernels(child, operators)
