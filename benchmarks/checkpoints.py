"""The checkpoints that the benchmarks of the service send."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.memory import MIB


def save_checkpoint(path: Path, megabytes: float) -> None:
    """Save a checkpoint of this size, half of it Conv3d weights."""
    channels = 32 if megabytes < 4 else 64 if megabytes < 64 else 512
    weight = torch.randn(channels, channels, 3, 3, 3)
    state_dict: dict[str, torch.Tensor] = {}
    for index in range(max(1, round(megabytes * MIB / (weight.nbytes * 2)))):
        state_dict[f"{index}.conv.weight"] = weight + index
        state_dict[f"{index}.linear.weight"] = torch.randn(weight.numel() // channels, channels)
    torch.save(state_dict, path)


def save_tiny(path: Path) -> None:
    """Save two convolutions and a norm: 6 kB."""
    layers = torch.nn.Conv3d(3, 8, 3), torch.nn.BatchNorm3d(8), torch.nn.Conv3d(8, 2, 1)
    torch.save(torch.nn.Sequential(*layers).state_dict(), path)
