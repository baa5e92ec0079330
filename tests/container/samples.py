"""Checkpoints to send."""

from __future__ import annotations

import io
from itertools import pairwise

import torch
from torch import nn


def slow_checkpoint() -> bytes:
    """Return a checkpoint whose smoke takes some seconds."""
    buffer = io.BytesIO()
    widths = (16, 128, 256, 512)
    layers = [nn.Conv3d(few, many, 3) for few, many in pairwise(widths)]
    torch.save(nn.Sequential(*layers).state_dict(), buffer)
    return buffer.getvalue()
