"""Whether TorchScript fuses a program's operators, so that what watches them sees them no more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from scripts.gpu.device import Device

_RUNS = 4
"""TorchScript looks on first, and compiles from the third run on."""


class Pointwise(nn.Module):
    """Two convolutions, and pointwise operators that could be made one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(8, 16, 3), nn.Conv3d(16, 8, 3)

    def forward(self, volume: Tensor) -> Tensor:
        """Return (N, 8, D - 4, H - 4, W - 4) of (N, 8, D, H, W)."""
        between = torch.relu(self.first(volume) + 1.0) * 2.0
        return torch.sigmoid(self.second(between) + 1.0) * 3.0


class _Names(TorchDispatchMode):
    """Notes the operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's own base
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def programs(device: Device) -> dict[str, Any]:
    """Run a program four times, and tell which operators were seen each time."""
    script = torch.jit.script(Pointwise().eval()).to(device.where)
    volume = torch.randn(2, 8, 12, 12, 12, device=device.where)
    runs = []
    for _ in range(_RUNS):
        with _Names() as seen:
            script(volume)
        runs.append(seen.names)
    return {"operators": [len(each) for each in runs], "first": runs[0], "last": runs[-1]}
