"""What PyTorch's profiler sees of kernels, raw; and what looking costs.

It is read here from its own events, not by `convlast.smoke.model.dispatch`, which rests on what
this shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scripts.gpu.device import Device

_CONVOLUTIONS = ("aten::convolution", "aten::_convolution")
_PADDING = 8
_IDLE_S = 3.0
_ON_DEVICE = "CUDA"


@dataclass
class Profiler:
    """PyTorch's profiler in this process.

    Attributes:
        device: Where the kernels run.
        sessions: How often it was used. Each session may lose one kernel more at its head.
            Source: https://github.com/pytorch/pytorch/issues/192021
    """

    device: Device
    sessions: int = 0

    def events_of(self, run: Callable[[], object], *, padding: int = 0) -> list[Any]:
        """Return the events of a run, and of so many small kernels before it."""
        self.sessions += 1
        with torch.profiler.profile(acc_events=True, record_shapes=True) as profiler:
            for _ in range(padding):
                torch.zeros(1, device=self.device.where)
            run()
            self.device.wait()
        return list(profiler.events() or ())

    def kernels_of(self, run: Callable[[], object]) -> dict[str, Any]:
        """Return the kernels of the convolutions in a run, and what else carries kernels."""
        run()
        self.device.wait()
        events = self.events_of(run, padding=self.sessions + 1 + _PADDING)
        convolutions = [event for event in events if _is_convolution(event)]
        roots = [event for event in events if event.cpu_parent is None]
        return {
            "convolutions": [(event.name, str(event.input_shapes)[:160]) for event in convolutions],
            "kernels": [kernel for event in convolutions for kernel in _kernels(event)],
            "device_events": _number_on_device(events),
            "kernels_in_the_tree": sum(1 for event in roots for _ in _kernels(event)),
            "carriers_that_are_no_operator": _odd_carriers(events),
            "other_events": sorted({event.name for event in events if _is_other(event)})[:20],
        }


def sessions(
    profiler: Profiler, run: Callable[[], object], number: int = 7
) -> list[dict[str, Any]]:
    """Use the profiler several times, and tell how many of ten runs each session saw.

    Before one of them the GPU idles, which is said to make the loss worse.
    """
    found = []
    for index in range(number):
        if profiler.device.is_gpu and index == number // 2 + 1:
            time.sleep(_IDLE_S)
        events = profiler.events_of(lambda: [run() for _ in range(10)])
        convolutions = [event for event in events if _is_convolution(event)]
        found.append(
            {
                "device_events": _number_on_device(events),
                "convolutions": len(convolutions),
                "convolutions_with_kernels": sum(any(_kernels(each)) for each in convolutions),
                "carriers_that_are_no_operator": _odd_carriers(events),
            }
        )
    return found


def small_kernels(profiler: Profiler) -> dict[str, Any]:
    """Time a forward of 80 small kernels: is it slower once the profiler was used?"""
    device = profiler.device
    blocks = [nn.Sequential(nn.Conv3d(8, 8, 1), nn.ReLU()) for _ in range(40)]
    model = nn.Sequential(*blocks).to(device.where, device.half)
    volume = torch.randn(1, 8, 4, 4, 4, device=device.where, dtype=device.half)
    with torch.no_grad():
        seconds = device.seconds_of(lambda: model(volume), 30)
    return {"forward_s": seconds, "sessions_of_the_profiler": profiler.sessions}


def _is_convolution(event: Any) -> bool:
    """Say whether this is a whole convolution, and no part of one."""
    is_part = event.cpu_parent is not None and event.cpu_parent.name in _CONVOLUTIONS
    return event.name in _CONVOLUTIONS and not is_part


def _kernels(event: Any, operators: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield the kernels of an event and those within it; of its operators the innermost first."""
    operators = (event.name, *operators)
    for kernel in event.kernels:
        microseconds = round(kernel.duration, 2)
        yield {"name": kernel.name, "microseconds": microseconds, "operators": operators}
    for child in event.cpu_children:
        yield from _kernels(child, operators)


def _number_on_device(events: list[Any]) -> int:
    return sum(str(event.device_type).endswith(_ON_DEVICE) for event in events)


def _odd_carriers(events: list[Any]) -> list[str]:
    return sorted({event.name for event in events if event.kernels and "::" not in event.name})


def _is_other(event: Any) -> bool:
    return "::" not in event.name and not str(event.device_type).endswith(_ON_DEVICE)
