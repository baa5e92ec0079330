"""A file to send, and no waiting."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file to send; the fake service does not read it."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"a checkpoint")
    return path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record each wait instead of waiting."""
    waits: list[float] = []
    monkeypatch.setattr("convlast.client.time.sleep", waits.append)
    return waits
