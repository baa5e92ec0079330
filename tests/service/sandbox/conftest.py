"""The folder of a worker, and that of another job beside it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folder of a worker."""
    folder = tmp_path / "worker"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Make a file of another job that belongs to the same user."""
    (tmp_path / "other").mkdir(mode=0o700)
    file = tmp_path / "other" / "secret.pt"
    file.write_bytes(b"secret")
    return file
