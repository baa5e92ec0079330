"""`deploy/kuberay.yaml`: its pods, and what runs in them."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from service.settings import Settings
from tests.deploy.kubernetes.rendering import ROOT, Manifest, Rendered

FILE = ROOT / "deploy" / "kuberay.yaml"
NAME = "convlast-ray"
STORE = {"CONVLAST_STORE": "s3://models/convlast/", "AWS_REGION": "eu-central-1"}
"""What the user's secret may hold."""


def read() -> Rendered:
    """Return what the file gives to the cluster."""
    return Rendered(list(yaml.safe_load_all(FILE.read_text())))


def head_of(cluster: Manifest) -> Manifest:
    """Return the template of the head's pod."""
    template: Manifest = cluster["spec"]["headGroupSpec"]["template"]
    return template


def workers_of(cluster: Manifest) -> Manifest:
    """Return the template of the workers' pods."""
    (group,) = cluster["spec"]["workerGroupSpecs"]
    template: Manifest = group["template"]
    return template


def containers_of(template: Manifest) -> list[Manifest]:
    """Return all containers of a pod."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def ray_of(template: Manifest) -> Manifest:
    """Return the container with a part of Ray's cluster."""
    (container,) = (each for each in containers_of(template) if each["name"] == "ray")
    return dict(container)


def environment_of(container: Manifest) -> dict[str, str]:
    """Return the variables of a container, with those of the user's secret where they are named."""
    given = {each["name"]: each.get("value", "10.0.0.7") for each in container["env"]}
    return (STORE if "envFrom" in container else {}) | given


def settings_of(container: Manifest) -> Settings:
    """Return the settings that are read in a container."""
    return Settings.from_environment(environment_of(container))


def part_of(container: Manifest) -> str:
    """Return which part of the cluster a container starts."""
    *program, part = container["command"]
    assert program == ["python3", "-m", "service.ray_engine"]
    return str(part)


def volumes(template: Manifest) -> dict[str, Any]:
    """Return the sizes of the volumes that can be written."""
    found = {each["name"]: each.get("emptyDir") for each in template["spec"]["volumes"]}
    return {name: each["sizeLimit"] for name, each in found.items() if each}
