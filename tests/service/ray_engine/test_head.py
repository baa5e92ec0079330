"""What becomes of a service when the head of its cluster dies, or lets everyone in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.ray_engine.clusters import Part, RayNodes, started
from tests.service.running import FAKE, ROOT, Running, served, start_at, wait_for

pytestmark = pytest.mark.ray

AGAIN_S = 180.0


@pytest.fixture
def cluster() -> Iterator[RayNodes]:
    """Start one node."""
    with started(1) as nodes:
        yield nodes


@pytest.fixture
def service(cluster: RayNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Start a replica, for which five seconds are what a minute is for others."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    monkeypatch.setenv("RAY_gcs_server_request_timeout_seconds", "5")
    with served(cluster.folder, FAKE, **cluster.settings) as running:
        yield running


def test_a_service_outlives_the_head(service: Running, cluster: RayNodes) -> None:
    """Ray would end its process; and the next head does not know who was there before."""
    cluster.kill()
    wait_for(lambda: service.metric("convlast_ready") == 0, within_s=AGAIN_S)
    cluster.start_head()
    assert service.process.poll() is None
    cluster.add()
    wait_for(lambda: service.metric("convlast_ready") == 1, within_s=AGAIN_S)
    assert service.convert(b"sleeps 0").status_code == 200


@pytest.fixture
def open_head() -> Iterator[str]:
    """Start a head that asks nobody for a token, and return its address."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
                "--port=6400", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}/r",
                "--num-cpus=0", "--include-dashboard=false", f"--object-store-memory={80 << 20}",
            ],
            env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    head = Part(process, log)
    try:
        head.wait_until_up()
        yield "127.0.0.1:6400"
    finally:
        head.kill()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_head_that_lets_everyone_in_is_not_used(open_head: str, tmp_path: Path) -> None:
    """A token of one's own would not keep others out, and the head takes it without a look."""
    token = tmp_path / "token"
    token.write_text("0" * 64)
    settings = {
        "engine": "ray", "device": "cpu", "ray_address": open_head,
        "ray_token_file": token, "store": f"file://{tmp_path}/store/",
    }  # fmt: skip
    running = start_at(ROOT, tmp_path, FAKE, None, settings)
    try:
        wait_for(lambda: "answers without a token" in running.log.read_text(), within_s=AGAIN_S)
        assert running.metric("convlast_ready") == 0
    finally:
        running.process.kill()
        running.process.wait()
