"""Which kernels each convolution of a forward ran on a GPU, and what permuting costs.

The profiler knows operators and kernels, but not the model's layers. So each operator runs within a
mark of its own, and the kernels that the profiler saw within a mark belong to its operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.autograd.profiler import record_function

from convlast.report.smoke import Dispatch, LayoutKernels, OperatorTime
from convlast.smoke import device_health as health
from convlast.smoke.layout import order_of
from convlast.smoke.model.events import Operation
from convlast.smoke.model.kernels import COPY, Kernel, permutes, route_of
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.trace import Permutation, convolved, permutation_of
from convlast.smoke.model.watching import Watch

Weights = Literal["contiguous", "converted"]

FORWARD = "convlast forward"
_OPERATOR = "convlast operator "

LOST = 64
"""Small kernels that run first, because the profiler loses the first kernels of a session.

Source: https://github.com/pytorch/pytorch/issues/192021
"""

_MOVING = frozenset({"aten::clone", "aten::_to_copy", "aten::copy_", "aten::contiguous"})


@dataclass(frozen=True)
class Mark:
    """The operator that ran within one mark: a convolution, or a copy that permutes.

    Attributes:
        layer: The module of a convolution; None for a copy that permutes.
        is_channels_last: Whether the output of a convolution is channels-last.
        permutation: What it permutes, if it does.
    """

    layer: str | None = None
    is_channels_last: bool = False
    permutation: Permutation | None = None


@dataclass
class Profile:
    """What the profiler saw of one forward.

    Attributes:
        dispatches: Each convolution's kernels, in the order of execution.
        operators: The time of all other operators, the longest first.
        permuting: The kernels that only permute; None if no kernels were seen.
        permuting_s: The time of these kernels for each permutation that had any.
        reason: Why the profile is empty.
    """

    dispatches: list[Dispatch] = field(default_factory=list)
    operators: list[OperatorTime] = field(default_factory=list)
    permuting: LayoutKernels | None = None
    permuting_s: dict[Permutation, float] = field(default_factory=dict)
    reason: str | None = None


class Marker(Watch):  # type: ignore[no-untyped-call]  # PyTorch's own base
    """Watches one forward, and runs each operator within a mark that the profiler sees.

    Attributes:
        marks: The convolutions and the copies that permute, by the number of their mark.
    """

    def __init__(self, module: nn.Module, *, takes_hooks: bool, weights: Weights) -> None:
        super().__init__(module, takes_hooks=takes_hooks, on_operation=self._note)
        self.marks: dict[int, Mark] = {}
        self._weights, self._number = weights, 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator within its mark."""
        self._number += 1
        with record_function(f"{_OPERATOR}{self._number}"):
            return super().__torch_dispatch__(func, types, args, kwargs)

    def _note(self, operation: Operation) -> None:
        output = convolved(operation)
        if output is not None:
            order = order_of(output)
            is_last = order == "channels_last_3d" or (
                order == "both" and self._weights == "converted"
            )
            found = permutation_of(operation)
            self.marks[self._number] = Mark(operation.place.name, is_last, found)
        elif operation.name in _MOVING and (found := permutation_of(operation)):
            self.marks[self._number] = Mark(permutation=found)


def profile(specimen: Specimen, way: Way, weights: Weights) -> Profile:
    """Profile one forward, after a warm-up forward.

    Args:
        specimen: The model; on a CPU no kernels are seen.
        way: How to run it.
        weights: Which weights it has, for the report.
    """
    inputs = specimen.inputs(way)
    specimen.call(inputs, way)
    health.wait_for(specimen.device)
    marker = Marker(specimen.module, takes_hooks=specimen.subject.takes_hooks, weights=weights)
    with torch.profiler.profile(acc_events=True) as profiler:
        for _ in range(LOST):
            torch.zeros(1, device=specimen.device)
        health.wait_for(specimen.device)
        with record_function(FORWARD), marker:
            specimen.call(inputs, way)
        health.wait_for(specimen.device)
    return read(list(profiler.events() or ()), marker.marks, weights)


def read(events: Sequence[Any], marks: Mapping[int, Mark], weights: Weights) -> Profile:
    """Build the profile of one forward from the profiler's events.

    Args:
        events: The profiler's events.
        marks: The operator of each mark, by the mark's number.
        weights: Which weights the model had, for the report.
    """
    total_s = _device_seconds(events)
    if not total_s:
        return Profile(reason="PyTorch's profiler saw no kernels.")
    seen = {
        int(event.name.removeprefix(_OPERATOR)): list(_kernels(event))
        for event in events
        if event.name.startswith(_OPERATOR) and _is_on_host(event)
    }
    if missing := marks.keys() - seen.keys():
        return Profile(reason=f"PyTorch's profiler lost {len(missing)} of {len(marks)} operators.")
    convolutions = {number for number, mark in marks.items() if mark.layer is not None}
    others = [
        kernel for number, own in seen.items() if number not in convolutions for kernel in own
    ]
    moving: list[Kernel] = []
    found = Profile(operators=_operator_times(others, weights))
    for number, mark in sorted(marks.items()):
        own = seen[number]
        if mark.layer is not None:
            found.dispatches.append(_dispatch(mark.layer, weights, own, mark))
            own = [k for k in own if permutes(k.name) or COPY in k.operators]
        moving += own
        if own and mark.permutation is not None:
            spent = found.permuting_s.get(mark.permutation, 0.0)
            found.permuting_s[mark.permutation] = spent + sum(kernel.seconds for kernel in own)
    seconds = sum(kernel.seconds for kernel in moving)
    found.permuting = LayoutKernels(
        weights=weights, number=len(moving), seconds=seconds, share=min(seconds / total_s, 1.0)
    )
    return found


def _dispatch(layer: str, weights: Weights, kernels: Sequence[Kernel], mark: Mark) -> Dispatch:
    longest = sorted(kernels, key=lambda kernel: kernel.seconds, reverse=True)
    return Dispatch(
        layer=layer,
        weights=weights,
        route=route_of(kernels, is_channels_last=mark.is_channels_last),
        kernels=list(dict.fromkeys(kernel.name for kernel in longest)),
        seconds=sum(kernel.seconds for kernel in kernels),
    )


def _operator_times(kernels: Sequence[Kernel], weights: Weights) -> list[OperatorTime]:
    """Add up the kernels of each operator, by the name of the outermost one."""
    by_operator: dict[str, list[float]] = {}
    for kernel in kernels:
        by_operator.setdefault(kernel.operators[-1], []).append(kernel.seconds)
    found = [
        OperatorTime(operator=name, weights=weights, number=len(own_s), seconds=sum(own_s))
        for name, own_s in by_operator.items()
    ]
    return sorted(found, key=lambda each: each.seconds, reverse=True)


def _device_seconds(events: Sequence[Any]) -> float:
    """Add up the device's time for the forward, without the marks, which it shows as well."""
    began = next((e.time_range.start for e in events if e.name == FORWARD and _is_on_host(e)), 0)
    return sum(
        float(event.time_range.elapsed_us()) / 1e6
        for event in events
        if not _is_on_host(event)
        and not event.is_user_annotation
        and event.time_range.start >= began
    )


def _kernels(event: Any, operators: tuple[str, ...] = ()) -> Iterator[Kernel]:
    """Yield the kernels that the operators within an event launched.

    Kernels of the CUDA runtime's own events, such as `cudaLaunchKernel`, are ignored: these events
    may have the same number as another operator, and the kernels may be that operator's.
    """
    if "::" in event.name:
        operators = (event.name, *operators)
        for kernel in event.kernels:
            yield Kernel(kernel.name, kernel.duration / 1e6, operators)
    for child in event.cpu_children:
        yield from _kernels(child, operators)


def _is_on_host(event: Any) -> bool:
    return str(event.device_type).endswith("CPU")
