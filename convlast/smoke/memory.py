"""Memory that runs out in a smoke costs the smoke its size, never the artifact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

ATTEMPTS = 4
"""Sizes of the input that are tried before memory counts as too small."""

SIGNS = (
    "can't allocate memory",  # PyTorch's allocator on a CPU
    "Storage size calculation overflowed",  # more bytes than there are addresses
    "not enough memory",  # the same on Windows
    "ALLOC_FAILED",  # cuDNN's and cuBLAS's status
    "out of memory",  # the CUDA runtime, outside PyTorch's allocator
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory of the host or of the device ran out.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("sizes do not match"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


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
