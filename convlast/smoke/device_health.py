"""Whether the device still works: kernels fail late, and some failures are for good."""

from __future__ import annotations

import torch

from convlast.errors import DeviceLostError


def wait_for(device: torch.device) -> None:
    """Let a kernel that fails do so here, not in the next run."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def require_alive(device: torch.device) -> None:
    """Tell a refusal, which is a result, from a device that is lost to this process.

    Raises:
        DeviceLostError: If the device cannot be used any more.
    """
    try:
        wait_for(device)
    except RuntimeError as error:
        raise DeviceLostError(
            f"{device} failed in the smoke: {error}", remedy="Start a new process."
        ) from error
