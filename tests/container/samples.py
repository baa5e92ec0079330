"""Checkpoints to send."""

from __future__ import annotations

import io

import torch
from torch import nn


def slow_checkpoint() -> bytes:
    """Return a checkpoint whose smoke takes some seconds."""
    buffer = io.BytesIO()
    layers = [nn.Conv3d(32, 32, 3) for _ in range(300)]
    torch.save(nn.Sequential(*layers).state_dict(), buffer)
    return buffer.getvalue()
