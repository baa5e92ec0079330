"""When memory runs out in a smoke, the input gets smaller; the artifact is written all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

ATTEMPTS = 4
"""How many input sizes are tried before the smoke gives up."""

NO_ENGINE = "unable to find an engine to execute this computation"
"""PyTorch's message when every cuDNN kernel refused a convolution: cuDNN has no kernel for it, or
no kernel got the workspace memory that it needs.

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
    """Say whether an error means that the host or the device ran out of memory.

    `NO_ENGINE` counts too, though it may mean that there is no kernel; `runs_on_less` tells which.

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

    If so, a kernel exists, and the full input was too large for it or for the memory.

    Args:
        convolve: Runs the convolution on an input.
        activation: (N, C, D, H, W)
        reach: The extents of the kernel, including its dilation.
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
    """Call `run`, and call it again with a smaller input each time that memory runs out.

    Args:
        run: Called with the number of times to halve the spatial extents of its input.
        device: Where it runs.

    Returns:
        The result, and how many times the input was halved.

    Raises:
        RuntimeError: If memory runs out even with the smallest input; or a `MemoryError`.
    """
    for halvings in range(ATTEMPTS):
        try:
            return run(halvings), halvings
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or halvings == ATTEMPTS - 1:
                raise
        release(device)  # the error is gone here, and with it the tensors that it kept alive
    raise AssertionError("the last attempt returns or raises")


def release(device: torch.device) -> None:
    """Return the memory that PyTorch has cached on the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
