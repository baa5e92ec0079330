"""Weights that are permuted on the GPU come back as those permuted on the CPU."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from convlast.layout.memory_format import strides_of
from convlast.writing.permutation import Restriding, permute_all

pytestmark = pytest.mark.gpu


def fill(weight: torch.Tensor, buffer: memoryview) -> None:
    """Read a weight."""
    torch.frombuffer(buffer, dtype=torch.float32).copy_(weight.flatten())


def restriding(weight: torch.Tensor) -> Restriding:
    """Say what is to become of a contiguous weight."""
    after = strides_of(weight.shape, "channels_last_3d")
    return Restriding(tuple(weight.shape), weight.stride(), after, weight.itemsize)


def test_many_weights_through_two_queues_do_not_mix() -> None:
    """Sizes from nothing to megabytes, in one stream: the same bytes as on the CPU, in order."""
    shapes = [(8, 4, 3, 3, 3), (256, 128, 3, 3, 3), (1, 1, 1, 1, 1), (64, 64, 3, 3, 3)] * 5
    weights = [torch.randn(shape) for shape in shapes]

    def found(device: str) -> list[bytes]:
        jobs = ((restriding(weight), partial(fill, weight)) for weight in weights)
        return [bytes(after) for _, after in permute_all(jobs, torch.device(device))]

    assert found("cuda") == found("cpu")
