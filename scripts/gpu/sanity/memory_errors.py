"""What is raised when the device's memory runs out, in a convolution's output or its workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from convlast.smoke.out_of_memory import is_out_of_memory
from scripts.gpu.device import Device
from scripts.gpu.sanity.convolutions import Case, Operands

_CASES: Mapping[str, Case] = {
    "plain": Case((4, 32, 96, 96, 96), (32, 32, 3, 3, 3), padding=1),
    "transposed": Case((2, 64, 64, 64, 64), (64, 64, 3, 3, 3), padding=1, is_transposed=True),
}
_ROOM = (0, 0.5, 1.05, 1.6, 2.2, 3.2)
"""How much memory is left, in times of the output's bytes."""

_SLACK_BYTES = 4 << 20


def memory_errors(device: Device) -> dict[str, Any]:
    """Run convolutions with less and less room; a rehearsal has no limit to set."""
    found = {}
    for name, case in _CASES.items():
        operands = case.on(device, device.half)
        for room in _ROOM:
            with _room_for(int(room * operands.volume.nbytes), device):
                found[f"{name}, {room} of its output"] = attempt(operands, device)
        del operands
    return found


@torch.no_grad()
def attempt(operands: Operands, device: Device) -> object:
    """Run it; return what is raised, and whether the smoke knows it as a lack of memory."""
    try:
        operands.run(operands.volume, operands.weight)
        device.wait()
    except RuntimeError as error:
        kind, text = type(error).__name__, str(error)[:300]
        return {"raised": kind, "text": text, "recognised": is_out_of_memory(error)}
    return "ran"


@contextmanager
def _room_for(nbytes: int, device: Device) -> Iterator[None]:
    """Leave PyTorch so many bytes more than it has now."""
    if not device.is_gpu:
        yield
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_reserved() + nbytes + _SLACK_BYTES
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
