"""A file to send, a service, and no waiting."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.convlast.client.fake_service import FakeService


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file to send; the fake service does not read it."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"a checkpoint")
    return path


@pytest.fixture
def service() -> FakeService:
    """Return a service whose job has succeeded."""
    return FakeService()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record each wait instead of waiting; the clock goes on by as much."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    clock = SimpleNamespace(monotonic=lambda: sum(waits))
    monkeypatch.setattr("convlast.client.patience.anyio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("convlast.client.patience.time", clock)
    return waits
