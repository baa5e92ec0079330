from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.deployment import GPU, Deployment
from tests.container.engine import HOOK, Engine
from tests.service.running import wait_for

pytestmark = pytest.mark.container


@pytest.fixture
def deployment(engine: Engine, image: str) -> Iterator[Deployment]:
    """Return the compose file as it is, with a GPU asked for; nothing is started."""
    deployment = Deployment(engine, GPU)
    deployment.down()
    yield deployment
    deployment.down()


@pytest.fixture
def calls(engine: Engine, tmp_path: Path) -> Iterator[Path]:
    """Start the engine anew with a stub of NVIDIA's hook; name the file that it writes."""
    if not engine.is_own:
        pytest.skip("the engine on this machine is not the tests' own")
    calls = tmp_path / "calls"
    stub = tmp_path / HOOK
    stub.write_text(f'#!/bin/sh\n{{ echo "$*"; cat; echo; }} >>{calls}\n')
    stub.chmod(0o755)
    engine.stop()
    engine.start(path=str(tmp_path))
    yield calls
    engine.stop()
    engine.start()


def test_without_a_gpu_the_start_is_refused(deployment: Deployment) -> None:
    """`docker compose up` says what is missing, and runs nothing."""
    if shutil.which(HOOK):
        pytest.skip("this machine has NVIDIA's container toolkit")
    said = deployment.try_up()
    assert "could not select device driver" in said
    assert "nvidia" in said
    assert not deployment.is_ready()


def test_with_nvidias_hook_the_request_reaches_the_engine(
    deployment: Deployment, calls: Path
) -> None:
    """One GPU is asked for; where it then cannot be used, the service says so and does not run."""
    deployment.try_up()
    (request,) = deployment.inspect()["HostConfig"]["DeviceRequests"]
    assert (request["Driver"], request["Count"]) == ("nvidia", 1)
    assert request["Capabilities"] == [["gpu"]]
    assert "prestart" in calls.read_text()
    wait_for(lambda: "cannot start" in deployment.compose("logs"), within_s=90)
    assert "cuda" in deployment.compose("logs").lower()
    assert not deployment.is_ready()
