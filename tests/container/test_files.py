from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.container.engine import ROOT

HADOLINT = Path(sys.executable).with_name("hadolint")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WALLS = {
    "init": True,
    "read_only": True,
    "ipc": "none",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


def test_the_dockerfile_has_no_smell() -> None:
    """Hadolint finds nothing."""
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_that_the_build_takes_is_let_in() -> None:
    """Each folder and file that the Dockerfile copies or mounts passes .dockerignore."""
    let_in = (ROOT / ".dockerignore").read_text().split()
    for name in (
        "deploy/image",
        "deploy/pipelines",
        "convlast",
        "service",
        "pyproject.toml",
        "README.md",
    ):
        assert f"!{name}" in let_in
    assert let_in[0] == "*"


def test_the_readme_names_files_that_there_are() -> None:
    """Each compose file of its commands is there."""
    files = set(re.findall(r"-f (\S+\.yml)", (ROOT / "README.md").read_text()))
    assert {"docker-compose.cpu.yml", "docker-compose.keys.yml"} <= files
    assert all((ROOT / each).is_file() for each in files)


def test_the_signing_key_goes_where_the_keys_go() -> None:
    """To every process that accepts requests, as a secret that the setting names; not to Ray's."""
    keys, signing = (
        yaml.safe_load((ROOT / f"docker-compose.{name}.yml").read_text())
        for name in ("keys", "signing")
    )
    assert signing["services"].keys() == keys["services"].keys()
    for service in signing["services"].values():
        (secret,) = service["secrets"]
        assert service["environment"] == {"CONVLAST_SIGNING_KEY_FILE": f"/run/secrets/{secret}"}
        assert signing["secrets"].keys() == {secret}


def test_only_the_service_is_started_without_a_profile() -> None:
    """All else is for the cluster, and the image of the cluster is no other service's."""
    assert [name for name, each in SERVICES.items() if "profiles" not in each] == ["convlast"]
    assert [name for name, each in SERVICES.items() if "build" in each] == [
        "convlast",
        "credentials",
    ]
    assert SERVICES["convlast"]["image"] + "-ray" == SERVICES["credentials"]["image"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_walled_in(name: str) -> None:
    """It can write to volumes alone, has no rights, and may not use all memory of the machine."""
    service = SERVICES[name]
    assert service.items() >= WALLS.items()
    assert service["mem_limit"]
    assert service["tmpfs"][0] == "/dev/mqueue:ro,size=4k"


def test_two_addresses_are_published_on_loopback() -> None:
    """Those of the service and the cluster; Ray and the store have internal networks."""
    published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert {name: len(ports) for name, ports in published.items()} == {"convlast": 1, "cluster": 1}
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for (port,) in published.values())
    internal = {name for name, each in COMPOSE["networks"].items() if (each or {}).get("internal")}
    for name, service in SERVICES.items():
        if name not in ("convlast", "cluster"):
            assert service.get("network_mode") == "none" or {*service["networks"]} <= internal
    assert "inside" not in SERVICES["cluster"]["networks"]


def test_each_node_has_a_gpu_of_its_own() -> None:
    """With a number for each, both would get the first one."""
    requests = [
        SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        for name in ("node-1", "node-2")
    ]
    assert [[each["device_ids"] for each in request] for request in requests] == [
        [["${NODE_1_GPU:-0}"]],
        [["${NODE_2_GPU:-1}"]],
    ]


@pytest.mark.parametrize("name", ["replica-1", "replica-2"])
def test_a_replica_is_stopped_before_the_nodes(name: str) -> None:
    """It drains on them; and it waits for none of them, since one may be scaled to 0."""
    needs = SERVICES[name]["depends_on"]
    assert needs["node-1"] == needs["node-2"] == {"condition": "service_started"}


def test_the_proxy_of_the_cluster_treats_bodies_as_the_shipped_one() -> None:
    """Its directives are those of deploy/nginx.conf, but for how a replica is found."""
    shipped = directives("nginx.conf")
    of_cluster = directives("nginx.cluster.conf")
    assert shipped - of_cluster == {"proxy_pass http://convlast;"}
    assert {each.split()[0] for each in of_cluster - shipped} == {
        "set",
        "proxy_pass",
        "proxy_connect_timeout",
    }


def directives(name: str) -> set[str]:
    """Return those of `location` in a configuration of nginx."""
    text = re.sub(r"#.*", "", (ROOT / "deploy" / name).read_text())
    (found,) = re.findall(r"location / \{(.*?)\}", text, re.DOTALL)
    return {line.strip() for line in found.splitlines() if line.strip()}
