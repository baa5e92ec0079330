"""Who sets the pace of a forward: the GPU that computes, or the CPU that launches."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from scripts.gpu.device import Device

_IN_A_ROW = 10
_TINY = (3, 4, 16, 16)


def pace(device: Device) -> dict[str, Any]:
    """Time a forward alone, ten in a row, and only the launching of one; in both layouts."""
    name, model = _model(device)
    model = model.eval().to(device.where, device.half)
    found: dict[str, Any] = {"model": name}
    shape = (3, 16, 112, 112) if device.is_gpu else _TINY
    with torch.no_grad():
        for samples in (1, 2, 8) if device.is_gpu else (1,):
            clip = torch.randn(samples, *shape, device=device.where, dtype=device.half)
            for layout in (torch.contiguous_format, torch.channels_last_3d):
                nn.utils.convert_conv3d_weight_memory_format(model, layout)
                found[f"N={samples}, {layout}"] = _seconds(model, clip, device)
    return found


def _seconds(model: nn.Module, clip: torch.Tensor, device: Device) -> dict[str, float]:
    alone_s = device.seconds_of(lambda: model(clip))
    row_s = device.seconds_of(lambda: [model(clip) for _ in range(_IN_A_ROW)], 3)
    began_s = time.perf_counter()
    model(clip)
    launching_s = time.perf_counter() - began_s
    device.wait()
    return {"alone_s": alone_s, "in_a_row_s": row_s / _IN_A_ROW, "launching_s": launching_s}


def _model(device: Device) -> tuple[str, nn.Module]:
    """Make torchvision's smallest video model where there is one, else something as deep."""
    if device.is_gpu:
        try:
            from torchvision.models.video import r3d_18

            return "r3d_18", r3d_18()
        except ImportError:
            pass
    layers: list[nn.Module] = [nn.Conv3d(3, 64, 3, stride=(1, 2, 2), padding=1)]
    for _ in range(16 if device.is_gpu else 1):
        layers += [nn.BatchNorm3d(64), nn.ReLU(), nn.Conv3d(64, 64, 3, padding=1)]
    return "a stack of convolutions", nn.Sequential(*layers)
