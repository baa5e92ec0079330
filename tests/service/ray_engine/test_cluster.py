"""Jobs on three nodes of a real Ray cluster, with the fake task."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.ray_engine.clusters import HEAD, SECRET, RayNodes, at_work, started
from tests.service.ray_engine.tasks import KNOWN
from tests.service.running import FAKE, ROOT, Running, served, wait_for

pytestmark = pytest.mark.ray

AGAIN_S = 90.0
"""How long Ray may take to notice a death, and to start an actor again, on a busy machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    """Start three nodes."""
    with started() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def service(cluster: RayNodes) -> Iterator[Running]:
    """Start a replica beside the head."""
    with served(cluster.folder, FAKE, **cluster.settings) as running:
        yield running


@pytest.fixture
def client(service: Running, cluster: RayNodes) -> Iterator[httpx.Client]:
    """Open a client, once three slots are ready."""
    with service.client(headers={"Prefer": "respond-async"}) as client:
        wait_for(lambda: len(lanes(client, "1")) == len(cluster.nodes) == 3, within_s=AGAIN_S)
        yield client


def lanes(client: httpx.Client, value: str = "[01]") -> list[str]:
    """Return the names of the slots: all of them, or those that are ready (`1`) or not."""
    line = rf'^convlast_device_ready{{device="(slot-.*)",workers="convert.*"}} {value}\b'
    return re.findall(line, client.get("/metrics").text, re.MULTILINE)


def submitted(client: httpx.Client, content: bytes) -> str:
    """Send a checkpoint, which has to differ from all others, and return the link to its job."""
    files = {"checkpoint": ("m.pt", content)}
    link: str = client.post("/convert", files=files).json()["links"]["self"]
    return link


def running_at(client: httpx.Client, link: str) -> str:
    """Wait until a job runs, and return the device."""
    wait_for(lambda: client.get(link).json()["state"] == "running", within_s=AGAIN_S)
    device: str = client.get(link).json()["device"]
    return device


def ended(client: httpx.Client, link: str) -> dict[str, Any]:
    """Wait until a job has ended."""
    deadline = time.monotonic() + AGAIN_S
    while True:
        told: dict[str, Any] = client.get(link, params={"wait": 5}).json()
        if told["state"] not in ("queued", "running"):
            return told
        assert time.monotonic() < deadline, told


def test_jobs_run_on_all_nodes(client: httpx.Client, cluster: RayNodes) -> None:
    """Three jobs run at once, each with its result, and nothing of them is left on its way."""
    links = [submitted(client, b"sleeps 10 #%d" % number) for number in range(3)]
    assert len({running_at(client, link) for link in links}) == 3
    assert {ended(client, link)["state"] for link in links} == {"succeeded"}
    moving = cluster.folder / "store" / "moving"
    wait_for(lambda: not [path for path in moving.rglob("*") if path.is_file()])


def test_a_deleted_job_is_gone_within_two_seconds(client: httpx.Client) -> None:
    """When DELETE is answered, its process has ended on its node."""
    link = submitted(client, b"hangs #deleted")
    running_at(client, link)
    wait_for(lambda: at_work(b"hangs #deleted"))
    began_at = time.monotonic()
    assert client.delete(link).json()["state"] == "cancelled"
    assert at_work(b"hangs #deleted") == []
    assert time.monotonic() - began_at < 10, "two seconds, on a quiet machine"


def test_a_killed_worker_is_told_and_its_job_repeated(client: httpx.Client) -> None:
    """The second attempt succeeds."""
    content = b"sleeps 4 #killed worker"
    link = submitted(client, content)
    running_at(client, link)
    wait_for(lambda: at_work(content))
    os.kill(at_work(content)[0], signal.SIGKILL)
    assert ended(client, link)["state"] == "succeeded"
    assert client.get(link).json()["attempts"] == 2


@pytest.mark.parametrize("victim", ["actor", "raylet"])
def test_a_death_is_told_and_the_job_repeated(
    client: httpx.Client, cluster: RayNodes, victim: str
) -> None:
    """An actor is started again by Ray; a node that has died is replaced by another one."""
    content = b"sleeps 5 #killed " + victim.encode()
    link = submitted(client, content)
    running_at(client, link)
    wait_for(lambda: at_work(content))
    worker = at_work(content)[0]
    node = next(node for node in cluster.nodes if worker in node.pids())
    words = ("ray::SlotActor",) if victim == "actor" else ("raylet/raylet",)
    os.kill(node.pids(*words)[0], signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{worker}").exists() or is_dead(worker), within_s=AGAIN_S)
    assert ended(client, link)["state"] == "succeeded"
    assert client.get(link).json()["attempts"] == 2
    if victim == "raylet":
        node.kill()
        cluster.nodes.remove(node)
        wait_for(lambda: len(lanes(client)) == 2, within_s=AGAIN_S)
        cluster.add()


def is_dead(pid: int) -> bool:
    """Return whether a process has ended, and only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_hostile_code_reaches_nothing(client: httpx.Client, cluster: RayNodes) -> None:
    """Neither Ray, nor its token, nor the store, nor the environment of the actor."""
    token = cluster.token.read_text()
    digests = {each: hashlib.sha256(each.encode()).hexdigest() for each in (token, SECRET, KNOWN)}
    words = ["attacks", str(cluster.token), f"{cluster.folder}/store", *digests.values()]
    problem = ended(client, submitted(client, " ".join(words).encode()))["problem"]
    assert problem["code"] == "unsafe-checkpoint"
    assert problem["names"] == [f"remembers {digests[KNOWN]}"]


def test_no_process_has_the_token_in_its_environment(
    client: httpx.Client, cluster: RayNodes
) -> None:
    """Ray gets the name of its file, which is private; what forks workers has no secret at all."""
    assert cluster.token.stat().st_mode & 0o7777 == 0o400
    token = cluster.token.read_bytes()
    parts = (cluster.head, *cluster.nodes)
    everything = [pid for part in parts for pid in part.pids()]
    assert len(everything) > 20
    assert not [pid for pid in everything if token in environment_of(pid)]
    forking = [pid for part in parts for pid in part.pids("multiprocessing.forkserver")]
    assert len(forking) >= 3
    assert not [pid for pid in forking if re_secret(environment_of(pid))]


def environment_of(pid: int) -> bytes:
    """Return the environment with which a process was started."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def re_secret(environment: bytes) -> bool:
    """Return whether there is anything of Ray, of the store or of the service in it."""
    return any(word in environment for word in (b"RAY_", b"AWS_", b"CONVLAST_", SECRET.encode()))


@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_a_stranger_is_not_let_in(cluster: RayNodes, tmp_path: Path, mode: str) -> None:
    """Neither without a token, nor with another one."""
    other = tmp_path / "token"
    other.write_text("0" * 64)
    program = f"import ray; ray.init('{HEAD}'); print('let in')"
    environment = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN_PATH": str(other)}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert "let in" not in done.stdout
    assert "Unauthenticated" in done.stderr + done.stdout
