"""Memory that runs out in a smoke costs the smoke its size, never the artifact."""

from __future__ import annotations

import torch

SIGNS = (
    "can't allocate memory",  # PyTorch's allocator on a CPU
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


def release(device: torch.device) -> None:
    """Give back what PyTorch keeps in reserve on the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
