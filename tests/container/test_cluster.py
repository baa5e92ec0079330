"""`docker compose --profile cluster up`: Ray, a store and two replicas behind one address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from tests.container import pip_configuration
from tests.container.clustered import NODES, PARTS, REPLICAS, STAND_INS, Cluster
from tests.container.deployment import CPU
from tests.container.engine import Engine
from tests.container.samples import slow_checkpoint
from tests.container.test_compose import WALLS
from tests.service.running import wait_for

pytestmark = [pytest.mark.container, pytest.mark.stores]

READY_S = 180.0
TOKEN = "/etc/convlast/ray/token"  # noqa: S105  # its file
CREDENTIALS = "/etc/convlast/store/store.env"
FIND_JOBS = "import pathlib; print(*pathlib.Path('/var/lib/convlast/work-slots').glob('*/jobs/*'))"
REACH = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5):
    print("reached")
"""


@pytest.fixture(scope="module")
def cluster(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Build what the cluster adds to the image, and bring all of it up, with one slot a node."""
    settings = tmp_path_factory.mktemp("settings") / "convlast.env"
    settings.write_text("CONVLAST_WORKERS=1\n")
    files = (*CPU, STAND_INS, "tests/container/build.yml")
    with pip_configuration.build_secrets(tmp_path_factory.mktemp("secrets")) as secrets:
        Cluster(engine, files, secrets).compose("build")
    cluster = Cluster(engine, variables={"ENV_FILE": str(settings)})
    cluster.down()  # of a run that was broken off
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


def test_all_of_it_is_ready(cluster: Cluster) -> None:
    """Behind the one address there are two slots, on two nodes, in all walls of the sandbox."""
    wait_for(lambda: len(lanes(cluster)) == 2, within_s=READY_S)
    for workers in ("converters", "inspectors"):
        walls = {wall["name"]: wall for wall in cluster.ready()["checks"][workers]["walls"]}
        assert set(walls) == WALLS
        assert all(wall["held"] for wall in walls.values()), walls


def lanes(cluster: Cluster) -> list[dict[str, Any]]:
    """Return the slots that could take a job, as far as a replica tells."""
    with cluster.client() as client:
        answer = client.get("/readyz")
    if "json" not in answer.headers["Content-Type"]:
        return []  # it is the proxy that answers
    return [each for each in answer.json()["checks"]["converters"]["lanes"] if each["ready"]]


def test_a_checkpoint_is_converted_as_here(cluster: Cluster, tmp_path: Path) -> None:
    """The artifact has the bytes that this machine makes, without a service."""
    source = tmp_path / "model.pt"
    torch.save(nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4)).state_dict(), source)
    answer = cluster.convert(source.read_bytes(), headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    with cluster.client() as client:
        artifact = client.get(answer.json()["links"]["artifact"]).content
    assert digest(artifact) == digest(converted(source))


def converted(source: Path) -> bytes:
    """Return the artifact that the library makes of a checkpoint."""
    target = source.with_name("converted.pt")
    convlast.convert(source, target)
    return target.read_bytes()


def digest(content: bytes) -> str:
    """Return a digest, which is shorter to show than the bytes."""
    return hashlib.sha256(content).hexdigest()


def test_nothing_but_the_address_is_published(cluster: Cluster) -> None:
    """Ray, the store and the replicas have no port on this machine, and the address is loopback."""
    published = {part: cluster.known(part)["HostConfig"]["PortBindings"] for part in PARTS}
    assert published.pop("cluster") == {
        "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(cluster.port)}]
    }
    assert not any(published.values())


@pytest.mark.parametrize("part", ["head", "store", *NODES, *REPLICAS])
def test_a_part_is_in_internal_networks_alone(part: str, cluster: Cluster) -> None:
    """The engine keeps them apart from all others, and from the world."""
    names = cluster.known(part)["NetworkSettings"]["Networks"]
    known = json.loads(cluster.engine.docker("network", "inspect", *names))
    assert known
    assert all(each["Internal"] for each in known)


def test_the_parts_of_the_store_do_not_serve_others(cluster: Cluster) -> None:
    """Of SeaweedFS a node reaches S3, which asks for credentials, and neither filer nor volumes."""
    reached = cluster.within("node-1", "python3", "-c", REACH, "store", "8333")
    assert reached.strip() == "reached"
    for port in ("9333", "8080", "8888"):
        container, command = cluster.name("node-1"), ("python3", "-c", REACH, "store", port)
        said = cluster.engine.docker("exec", container, *command, check=False)
        assert "ConnectionRefusedError" in said
    assert "(admin Bearer token required)" in cluster.logged("store")  # by its gRPC


def test_secrets_are_made_here_and_kept_in_files(cluster: Cluster) -> None:
    """Only their owner can read them, and what the engine tells of its containers has none."""
    for path in (TOKEN, CREDENTIALS):
        assert cluster.within("node-1", "stat", "--format", "%a %u", path).split() == [
            "400",
            "10001",
        ]
    token = cluster.within("node-1", "cat", TOKEN).strip()
    lines = cluster.within("node-1", "cat", CREDENTIALS).splitlines()
    secrets = [token, *(line.partition("=")[2] for line in lines)]
    assert min(map(len, secrets)) >= 20
    told = json.dumps([cluster.known(part) for part in PARTS]) + cluster.compose("logs")
    assert not [secret for secret in secrets if secret in told]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_walled_in(part: str, cluster: Cluster) -> None:
    """As the plain service: nobody's user, no place to write, no rights."""
    known = cluster.known(part)
    host = known["HostConfig"]
    assert known["Config"]["User"] == "10001:10001"
    assert (host["ReadonlyRootfs"], host["IpcMode"], host["CapDrop"]) == (True, "none", ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] > 0


def test_a_large_upload_is_not_stored_on_its_way(cluster: Cluster) -> None:
    """The proxy has room for 1 MiB of files; 64 MiB pass it in both directions."""
    source = bytes(64 << 20)
    answer = cluster.convert(source)
    assert (answer.status_code, answer.json()["code"]) == (422, "not-a-checkpoint")


def test_a_job_outlives_a_node_and_a_replica(cluster: Cluster, tmp_path: Path) -> None:
    """Both are killed while it runs: it ends once, with the artifact that this machine makes."""
    source = tmp_path / "model.pt"
    source.write_bytes(slow_checkpoint())
    wait_for(lambda: len(lanes(cluster)) == 2, within_s=READY_S)
    answer = cluster.convert(source.read_bytes(), headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]

    def status() -> dict[str, Any]:
        with cluster.client() as client:
            return dict(client.get(f"/jobs/{job}").json())

    wait_for(lambda: nodes_at_work(cluster), within_s=60)
    (node,) = nodes_at_work(cluster)
    cluster.kill(node)
    (replica,) = (each for each in REPLICAS if job in cluster.logged(each))
    cluster.kill(replica)
    wait_for(lambda: status()["finished_at"], within_s=300)
    assert (status()["state"], status()["attempts"] > 1) == ("succeeded", True)
    with cluster.client() as client:
        artifact = client.get(f"/jobs/{job}/artifact").content
    assert digest(artifact) == digest(converted(source))
    (other,) = {*REPLICAS} - {replica}
    outcomes = [each for each in cluster.stored(other) if each.endswith("outcome.json")]
    assert len([each for each in outcomes if job in each]) == 1


def nodes_at_work(cluster: Cluster) -> list[str]:
    """Return the nodes that run a job."""
    return [node for node in NODES if cluster.within(node, "python3", "-c", FIND_JOBS).strip()]


def test_all_take_part_after_their_head_was_lost(cluster: Cluster) -> None:
    """New nodes and a new replica find a new head, and so does a replica that was never ended."""
    old = next(each for each in REPLICAS if cluster.known(each)["State"]["Running"])
    (new,) = {*REPLICAS} - {old}
    since = cluster.known(old)["State"]["StartedAt"]
    cluster.compose("restart", "--timeout", "1", "head")
    wait_for(lambda: not cluster.is_ready(), within_s=READY_S)
    cluster.compose(
        "up", "-d", "--no-build", "--pull", "never", "--force-recreate", "--no-deps", new
    )
    cluster.up()
    wait_for(lambda: len(lanes(cluster)) == 2, within_s=READY_S)

    def who_answers() -> set[str]:
        answer = cluster.convert(b"no checkpoint")
        request_id = answer.headers.get("X-Request-ID", "none")
        return {each for each in REPLICAS if request_id in cluster.logged(each)}

    for replica in REPLICAS:
        wait_for(partial(lambda each: each in who_answers(), replica), within_s=READY_S)
    assert cluster.convert(b"no checkpoint").status_code == 422
    assert cluster.known(old)["State"]["StartedAt"] == since
