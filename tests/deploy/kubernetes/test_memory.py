from __future__ import annotations

import re

import pytest

from service.app import MOST_INSPECTORS, local_workers, memory_of
from service.settings import Settings
from service.workers import machine
from service.workers.lanes.memory_budget import MemoryPool
from tests.deploy.kubernetes.rendering import ROOT, Rendered
from tests.deploy.kubernetes.test_pod import settings_of, size

PAGE = ROOT / "docs" / "kubernetes.md"
ROWS = re.findall(r"^\| \**(\w+i)\** \| \**(\w+i)\** \| \**(\w+i)\** \|$", PAGE.read_text(), re.M)
"""Memory limit, memory of a worker and largest upload, as the page advises."""


def conversions_of(
    rendered: Rendered, settings: Settings, monkeypatch: pytest.MonkeyPatch, memory: str = ""
) -> MemoryPool:
    """Return the memory of conversions, as the service in the pod divides it."""
    limits = dict(rendered.container["resources"]["limits"])
    limits["memory"] = memory or limits["memory"]
    monkeypatch.setattr(machine, "memory_bytes", lambda: size(limits["memory"]))
    monkeypatch.setattr(machine, "cores", lambda: int(limits["cpu"]))
    gpus = range(int(limits.get("nvidia.com/gpu", 0)))
    device = "cuda:" + ",".join(map(str, gpus)) if gpus else "cpu"
    budget = memory_of(settings)
    local_workers(settings, device, memory=budget)
    local_workers(settings, "cpu", memory=budget, most=MOST_INSPECTORS)
    conversions, _ = budget.pools
    return conversions


def wanted_bytes(settings: Settings, upload_bytes: int) -> int:
    """Return what the settings promise a job with such an upload."""
    return settings.worker_memory_bytes + 3 * upload_bytes


def test_the_memory_limit_holds_the_largest_upload(
    rendered: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job may use 8 GiB and three times its upload, while an inspection runs beside it."""
    settings = settings_of(rendered)
    pool = conversions_of(rendered, settings, monkeypatch)
    largest = settings.max_upload_bytes
    assert pool.allowance(largest) == wanted_bytes(settings, largest)
    assert pool.fits(pool.allowance(largest))


def test_a_larger_upload_would_not_fit(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would prove nothing."""
    settings = settings_of(rendered)
    larger = settings.max_upload_bytes + (1 << 30)
    pool = conversions_of(rendered, settings, monkeypatch)
    assert pool.allowance(larger) < wanted_bytes(settings, larger)


@pytest.mark.parametrize(("memory", "worker", "upload"), ROWS)
def test_the_sizes_that_the_page_advises_hold(
    memory: str, worker: str, upload: str, gpu: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest upload of each row gets its full share."""
    changed = {"CONVLAST_WORKER_MEMORY_BYTES": worker, "CONVLAST_MAX_UPLOAD_BYTES": upload}
    settings = Settings.from_environment(gpu.environment | changed)
    pool = conversions_of(gpu, settings, monkeypatch, memory)
    largest = settings.max_upload_bytes
    assert pool.allowance(largest) == wanted_bytes(settings, largest)


def test_the_page_has_the_sizes_of_the_manifests(gpu: Rendered) -> None:
    """One of its rows is what the overlay says."""
    here = (
        gpu.container["resources"]["limits"]["memory"],
        gpu.environment["CONVLAST_WORKER_MEMORY_BYTES"],
        gpu.environment["CONVLAST_MAX_UPLOAD_BYTES"],
    )
    assert here in ROWS
    assert len(ROWS) > 1
