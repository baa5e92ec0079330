"""What the file gives to the cluster, and the service without one to compare it with."""

from __future__ import annotations

import pytest

from tests.deploy.kuberay.cluster import NAME, head_of, read, workers_of
from tests.deploy.kubernetes.rendering import FOLDER, Manifest, Rendered, render


@pytest.fixture(scope="session")
def kuberay() -> Rendered:
    """Return what the file gives to the cluster."""
    return read()


@pytest.fixture(scope="session")
def templates(kuberay: Rendered) -> dict[str, Manifest]:
    """Return the template of each kind of pod."""
    cluster = kuberay.one("RayCluster", NAME)
    return {
        "head": head_of(cluster),
        "worker": workers_of(cluster),
        "replica": kuberay.one("Deployment")["spec"]["template"],
    }


@pytest.fixture(scope="session")
def gpu() -> Rendered:
    """Return the service with a GPU, without a cluster."""
    return render(FOLDER / "overlays" / "gpu")
