"""The paths /metrics and /readyz, when what they read hangs or fails."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.context import Context
from service.settings import Settings
from service.storage.workspace import StorageState
from service.telemetry.families import Sample
from service.telemetry.gpus import Gpus
from service.telemetry.readings import Reading
from tests.service.jobs.boards import FakeWorkers, in_loop
from tests.service.telemetry.nvml import FakeNvml


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """Return an application with fake workers."""
    settings = Settings(work_dir=tmp_path, device="cpu")
    application = create_app(settings, converters=FakeWorkers(), inspectors=FakeWorkers())
    yield application
    context: Context = application.state.context
    context.workspace.close()


async def scrape(
    app: FastAPI,
    *,
    gpus: Callable[[], list[Sample]] = list,
    storage: Callable[[], StorageState] | None = None,
    patience_s: float = 20.0,
) -> str:
    """Return the metrics of a service whose hardware is read so."""
    context: Context = app.state.context
    disk = Reading("storage", storage, patience_s=patience_s) if storage else context.storage
    app.state.context = replace(
        context, gpus=Reading("gpus", gpus, patience_s=patience_s), storage=disk
    )
    answer = await ask(app, "/metrics")
    assert answer.status_code == 200
    return answer.text


async def ask(app: FastAPI, path: str) -> httpx.Response:
    """Send a GET."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://localhost"
    ) as client:
        return await client.get(path)


@in_loop
async def test_a_gpu_is_among_the_metrics(app: FastAPI) -> None:
    """What NVML tells is there, beside all others."""
    text = await scrape(app, gpus=Gpus(FakeNvml).read)
    total = re.search(r'^convlast_gpu_memory_total_bytes\{gpu="0"\} (\S+)$', text, re.MULTILINE)
    assert total is not None
    assert float(total[1]) == 85_520_809_984  # versions write it differently
    assert "convlast_ready 1.0" in text


@in_loop
async def test_a_driver_that_hangs_or_raises_costs_only_its_own_metrics(app: FastAPI) -> None:
    """The scrape is answered in time, without the GPUs."""
    go_on = threading.Event()

    def hangs() -> list[Sample]:
        go_on.wait()
        return []

    def breaks() -> list[Sample]:
        raise OSError("The driver is broken.")

    for read in (hangs, breaks):
        text = await scrape(app, gpus=read, patience_s=0.05)
        assert "convlast_gpu" not in text
        assert "convlast_ready 1.0" in text
    go_on.set()


@in_loop
async def test_a_disk_that_hangs_is_not_ready(app: FastAPI) -> None:
    """Both paths answer, and say that the storage is not ready."""
    go_on = threading.Event()

    def hangs() -> StorageState:
        go_on.wait()
        return StorageState(None)

    text = await scrape(app, storage=hangs, patience_s=0.05)
    assert 'convlast_part_ready{part="storage"} 0.0' in text
    assert "convlast_ready 0.0" in text
    assert "convlast_disk_free_bytes" not in text
    answer = await ask(app, "/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "The work folder does not answer.",
    )
    go_on.set()
