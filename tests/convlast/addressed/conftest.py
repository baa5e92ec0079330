"""A store that is a folder of this machine, and a checkpoint in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import builders


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder that is the store."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def checkpoint(store: Path) -> Path:
    """A checkpoint in the store, of 3.5 MB."""
    torch.manual_seed(0)
    state_dict = {"conv.weight": torch.randn(256, 128, 3, 3, 3), "norm.weight": torch.ones(9)}
    return builders.save(state_dict, store / "model.pt")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files, in which nothing is left in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())
