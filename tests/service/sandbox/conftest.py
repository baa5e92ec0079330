"""The folders of a worker, and that of another job beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.workers.folders import WorkerFolders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folders of a worker, and return the one that it can write to."""
    return WorkerFolders.make(tmp_path / "workers").work


@pytest.fixture
def given(folder: Path) -> Path:
    """Make the checkpoint of a worker."""
    file = folder.with_name("input") / "upload"
    file.write_bytes(b"given")
    return file


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Make a file of another job that belongs to the same user."""
    (tmp_path / "other").mkdir(mode=0o700)
    file = tmp_path / "other" / "secret.pt"
    file.write_bytes(b"secret")
    return file
