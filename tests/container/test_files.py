from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from service.settings import Settings
from tests.container.engine import ROOT

HADOLINT = Path(sys.executable).with_name("hadolint")
KUBERNETES = ROOT / "deploy" / "kubernetes.yaml"
SUPPORTED = ["1.31", "1.34", "1.37"]


@pytest.fixture
def documents() -> list[dict[str, Any]]:
    """Read the objects of the Kubernetes file."""
    return list(yaml.safe_load_all(KUBERNETES.read_text()))


@pytest.fixture
def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the Deployment says of its pods."""
    spec: dict[str, Any] = documents[0]["spec"]["template"]["spec"]
    return spec


def test_the_dockerfile_has_no_smell() -> None:
    """Hadolint finds nothing."""
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_that_the_build_takes_is_let_in() -> None:
    """Each folder and file that the Dockerfile copies or mounts passes .dockerignore."""
    let_in = (ROOT / ".dockerignore").read_text().split()
    for name in ("deploy/image", "convlast", "service", "pyproject.toml", "README.md"):
        assert f"!{name}" in let_in
    assert let_in[0] == "*"


def test_the_readme_names_files_that_there_are() -> None:
    """Each compose file of its commands is there, and so is what it says of Kubernetes."""
    named = set(re.findall(r"-f (\S+\.yml)|`(deploy/\S+)`", (ROOT / "README.md").read_text()))
    files = {"".join(each) for each in named}
    assert {"docker-compose.cpu.yml", "docker-compose.keys.yml"} <= files
    assert all((ROOT / each).is_file() for each in files)


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_kubernetes_file_fits_the_schema(version: str, documents: list[dict[str, Any]]) -> None:
    """Its objects are what the API takes, and hold nothing that it would pass over."""
    assert [each["kind"] for each in documents] == ["Deployment", "Service"]
    for each in documents:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_kubernetes_schema_is_looked_at(documents: list[dict[str, Any]]) -> None:
    """A slip of the pen is found: else the test above would prove nothing."""
    documents[0]["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(documents[0], SUPPORTED[0], strict=True)


def test_the_pod_gives_settings_that_there_are(pod: dict[str, Any]) -> None:
    """The service starts with them, and no others slip in."""
    (container,) = pod["containers"]
    settings = Settings.from_environment({each["name"]: each["value"] for each in container["env"]})
    assert not settings.allow_anonymous
    assert pod["enableServiceLinks"] is False
    assert settings.drain_timeout_s < pod["terminationGracePeriodSeconds"]
    assert container["resources"]["limits"]["memory"] == "16Gi"
    assert settings.worker_memory_bytes < 16 << 30


def test_the_pod_has_its_walls(pod: dict[str, Any]) -> None:
    """It satisfies what Kubernetes calls the restricted profile, and its root is read-only."""
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
