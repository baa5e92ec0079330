"""Memory that runs out in a smoke costs the smoke its size, never the artifact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

ATTEMPTS = 4
"""Sizes of the input that are tried before memory counts as too small."""

NO_ENGINE = "unable to find an engine to execute this computation"
"""What PyTorch says where every kernel of cuDNN refused a convolution: there is none for it, or
none of them got the memory that it works in.

Source: https://github.com/pytorch/pytorch/blob/v2.11.0/aten/src/ATen/native/cudnn/Conv_v8.cpp
"""

SIGNS = (
    NO_ENGINE,
    "can't allocate memory",  # PyTorch's allocator on a CPU
    "Storage size calculation overflowed",  # more bytes than there are addresses
    "not enough memory",  # the same on Windows
    "ALLOC_FAILED",  # cuDNN's and cuBLAS's status
    "out of memory",  # the CUDA runtime, outside PyTorch's allocator
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory of the host or of the device ran out.

    Of `NO_ENGINE` that is only likely: `runs_on_less` tells.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("sizes do not match"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def is_refusal(error: BaseException | str) -> bool:
    """Say whether cuDNN had no kernel for a convolution, or no memory for one."""
    return NO_ENGINE in str(error)


def runs_on_less(
    convolve: Callable[[Tensor], object], activation: Tensor, reach: Sequence[int]
) -> bool:
    """Say whether a convolution that was refused runs on a small part of its input.

    Then it was memory, or the size, that was wanting, and not a kernel.

    Args:
        convolve: Runs it.
        activation: (N, C, D, H, W)
        reach: The extents of the kernel, its dilation included.
    """
    extents = [
        max(extent // 4, least) for extent, least in zip(activation.shape[2:], reach, strict=True)
    ]
    part = activation[:1, :, : extents[0], : extents[1], : extents[2]]
    if part.shape == activation.shape:
        return False
    try:
        convolve(part)
    except RuntimeError:
        return False
    return True


def shrinking(run: Callable[[int], Result], device: torch.device) -> tuple[Result, int]:
    """Run something that takes memory, on smaller inputs where it runs out.

    Args:
        run: Takes how often to halve the spatial extents of its input.
        device: Where it runs.

    Returns:
        What came of it, and how often the input was halved.

    Raises:
        RuntimeError: If memory runs out with the smallest input as well; or a `MemoryError`.
    """
    for halvings in range(ATTEMPTS):
        try:
            return run(halvings), halvings
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or halvings == ATTEMPTS - 1:
                raise
        release(device)  # what the error held on to is gone here
    raise AssertionError("the last attempt returns or raises")


def release(device: torch.device) -> None:
    """Give back what PyTorch keeps in reserve on the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
