"""Checkpoints that say, and do not say, what model they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests import builders


@pytest.fixture
def state_dict(tmp_path: Path) -> Path:
    """A file that does not say what model it is for."""
    return builders.save(builders.one_convolution(), tmp_path / "model.pt")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A file that is its own model."""
    path = tmp_path / "module.pt"
    model = nn.Sequential(nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4), nn.Conv3d(4, 2, 3))
    torch.save(model.eval(), path)
    return path
