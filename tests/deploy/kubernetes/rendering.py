"""The overlays of `deploy/kubernetes`, as kubectl's kustomize puts them together."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu", "production")

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What an overlay gives to the cluster."""

    manifests: list[Manifest]

    def one(self, kind: str, name: str = "convlast") -> Manifest:
        """Return the only object of a kind with a name."""
        (found,) = (
            each
            for each in self.manifests
            if (each["kind"], each["metadata"]["name"]) == (kind, name)
        )
        return found

    def kinds(self) -> set[str]:
        """Return the kinds of all objects."""
        return {each["kind"] for each in self.manifests}

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the pod."""
        template = self.one("Deployment")["spec"]["template"]
        labels: dict[str, str] = template["metadata"]["labels"]
        return labels

    @property
    def pod(self) -> Manifest:
        """The specification of the pod."""
        pod: Manifest = self.one("Deployment")["spec"]["template"]["spec"]
        return pod

    @property
    def container(self) -> Manifest:
        """The only container of the pod."""
        (container,) = self.pod["containers"]
        return dict(container)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the container."""
        return {each["name"]: each["value"] for each in self.container["env"]}

    def volume(self, name: str) -> Manifest:
        """Return a volume of the pod."""
        (found,) = (each for each in self.pod["volumes"] if each["name"] == name)
        return dict(found)


def render(folder: Path) -> Rendered:
    """Put a kustomization together.

    Raises:
        AssertionError: If there is no kubectl, or it fails, or it warns.
    """
    beside = Path(sys.executable).parent
    kubectl = shutil.which("kubectl", path=beside) or shutil.which("kubectl")
    assert kubectl, "There is no kubectl: install it, or run `make setup` on Linux."
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return Rendered([each for each in yaml.safe_load_all(done.stdout) if each])
