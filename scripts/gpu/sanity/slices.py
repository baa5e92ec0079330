"""Weights as a conversion moves them: in pieces of 1 MiB, through the GPU and on the CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from convlast.checkpoints.checkpoint import tensor_over
from convlast.layout.memory_format import strides_of
from convlast.writing.permutation import Read, Restriding, permute_all
from scripts.gpu.device import Device

_SHAPE = (9, 1024, 3, 3, 3)
_CPU = torch.device("cpu")


def slices(device: Device) -> dict[str, Any]:
    """Tell the GiB a second: with buffers that are filled first, and as they are."""
    weight = torch.randn(_SHAPE)
    restriding = Restriding(
        _SHAPE, weight.stride(), strides_of(weight.shape, "channels_last_3d"), weight.itemsize
    )
    reads: dict[str, Read] = {"filled": partial(_fill, weight), "as it is": _leave}
    number, rounds = (256, 4) if device.is_gpu else (2, 2)
    found: dict[str, Any] = {}
    for where in {str(device.where): device.where, "cpu": _CPU}.values():
        for name, read in reads.items():
            seconds = [_seconds([(restriding, read)] * number, where) for _ in range(rounds)]
            found[f"{where}, {name}"] = {
                "first_s": seconds[0],
                "gib_per_s": number * weight.nbytes / min(seconds[1:]) / 2**30,
            }
    after = [list(_after([(restriding, reads["filled"])] * 3, d)) for d in (device.where, _CPU)]
    return {**found, "same_bytes": after[0] == after[1]}


def _seconds(jobs: list[tuple[Restriding, Read]], where: torch.device) -> float:
    began_s = time.perf_counter()
    for _ in permute_all(jobs, where):
        pass
    return time.perf_counter() - began_s


def _after(jobs: list[tuple[Restriding, Read]], where: torch.device) -> Iterator[bytes]:
    return (bytes(after) for _, after in permute_all(jobs, where))


def _fill(weight: Tensor, buffer: memoryview) -> None:
    tensor_over(buffer, weight.dtype).copy_(weight.flatten())


def _leave(buffer: memoryview) -> None:
    """Read nothing: what is in the buffer is moved as it is."""
