from __future__ import annotations

import pytest

from service.app import MOST_INSPECTORS, local_workers, memory_of
from service.workers import machine
from service.workers.lanes.memory_budget import MemoryBudget
from tests.deploy.kuberay.cluster import (
    containers_of,
    ray_of,
    settings_of,
    volumes,
)
from tests.deploy.kubernetes.rendering import Manifest, Rendered
from tests.deploy.kubernetes.test_pod import size


def test_the_memory_of_a_slot_holds_the_largest_upload(
    templates: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job gets all that the settings promise it."""
    container = ray_of(templates["worker"])
    settings = settings_of(container)
    limit_bytes = size(container["resources"]["limits"]["memory"])
    monkeypatch.setattr(machine, "memory_bytes", lambda: limit_bytes)
    pool = MemoryBudget(machine.default_memory_bytes(), settings.worker_memory_bytes).pool(print)
    pool.lanes = 1
    wanted_bytes = settings.worker_memory_bytes + 3 * settings.max_upload_bytes
    assert pool.allowance(settings.max_upload_bytes) == wanted_bytes
    assert pool.fits(wanted_bytes)


def test_the_memory_of_a_replica_holds_an_inspection(
    kuberay: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only inspections run there."""
    settings = settings_of(kuberay.container)
    limits = kuberay.container["resources"]["limits"]
    monkeypatch.setattr(machine, "memory_bytes", lambda: size(limits["memory"]))
    monkeypatch.setattr(machine, "cores", lambda: int(limits["cpu"]))
    budget = memory_of(settings)
    local_workers(settings, "cpu", memory=budget, most=MOST_INSPECTORS)
    (pool,) = budget.pools
    wanted_bytes = settings.worker_memory_bytes + 3 * settings.max_upload_bytes
    assert pool.allowance(settings.max_upload_bytes) == wanted_bytes
    assert pool.fits(wanted_bytes)


def test_the_disks_hold_what_they_may_get(
    kuberay: Rendered, templates: dict[str, Manifest]
) -> None:
    """A slot has a job of each replica: twice its upload, and twice its unpacked archive.

    During a rollout Kubernetes does not count the replica that drains.
    """
    worker = templates["worker"]
    settings = settings_of(ray_of(worker))
    job_bytes = 2 * (settings.max_upload_bytes + settings.max_unpacked_bytes)
    deployment = kuberay.one("Deployment")["spec"]
    draining = 1
    replicas = (
        deployment["replicas"] + deployment["strategy"]["rollingUpdate"]["maxSurge"] + draining
    )
    assert replicas * job_bytes < size(volumes(worker)["work"])
    service = settings_of(kuberay.container)
    assert service.work_bytes < size(volumes(templates["replica"])["work"])


@pytest.mark.parametrize("kind", ["head", "worker", "replica"])
def test_the_volumes_fit_the_storage_that_is_asked_for(
    kind: str, templates: dict[str, Manifest]
) -> None:
    """Otherwise the cluster evicts the pod first."""
    template = templates[kind]
    on_disk = sum(size(each) for name, each in volumes(template).items() if name != "shm")
    asked = sum(
        size(each["resources"]["requests"]["ephemeral-storage"]) for each in containers_of(template)
    )
    assert on_disk < asked


def test_both_sides_have_the_same_limits(templates: dict[str, Manifest]) -> None:
    """A slot refuses no file that the service has accepted."""
    limits = [
        (each.max_upload_bytes, each.max_unpacked_bytes, each.job_timeout_s, each.require_sandbox)
        for each in (
            settings_of(ray_of(templates["worker"])),
            settings_of(templates["replica"]["spec"]["containers"][0]),
        )
    ]
    assert limits[0] == limits[1]
