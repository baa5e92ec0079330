"""Whether the device still works: kernels fail asynchronously, and some failures are permanent."""

from __future__ import annotations

import torch

from convlast.errors import DeviceLostError


def wait_for(device: torch.device) -> None:
    """Wait for all kernels, so that a failing one raises here and not in the next run."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def require_alive(device: torch.device) -> None:
    """Check after an error that this process can still use the device.

    Raises:
        DeviceLostError: If the device can no longer be used.
    """
    try:
        wait_for(device)
    except RuntimeError as error:
        raise DeviceLostError(
            f"{device} failed in the smoke: {error}", remedy="Start a new process."
        ) from error
