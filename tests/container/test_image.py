from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

import convlast
from tests.container.engine import ROOT, Engine
from tests.container.pip_configuration import CANARY

pytestmark = pytest.mark.container

BUILDERS = ("pip", "pip3", "gcc", "cc", "g++", "make", "hatchling", "git", "curl")
MOUNTED = ("/opt/tools", "/wheels", "/src", "/tmp", "/etc/pip.conf", "/run/secrets")  # noqa: S108  # looked at
FIND_PROGRAMS = "import shutil, sys; print(*filter(shutil.which, sys.argv[1:]))"
FIND_FILES = """
import pathlib, sys
for place in map(pathlib.Path, sys.argv[1:]):
    print(*(each for each in (place, *place.rglob("*")) if each.is_file() and each.stat().st_size))
"""
LIST_PACKAGES = """
from importlib.metadata import distributions
for each in distributions():
    print(each.metadata["name"], each.version)
"""


def run(engine: Engine, image: str, *command: str) -> str:
    """Run a program in a fresh container as root; give what it prints."""
    options = ("--rm", "--network", "none", "--user", "0", "--entrypoint", command[0])
    return engine.docker("run", *options, image, *command[1:])


@pytest.fixture(scope="module")
def config(engine: Engine, image: str) -> dict[str, Any]:
    """Return what the image says of itself."""
    (known,) = json.loads(engine.docker("image", "inspect", image))
    return dict(known["Config"])


def test_the_image_runs_as_nobody_in_particular(config: dict[str, Any]) -> None:
    """Its user is not root, by number, so that Kubernetes can tell."""
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert "/readyz" in "".join(config["Healthcheck"]["Test"])


def test_the_image_says_what_it_is(config: dict[str, Any]) -> None:
    """Its labels are those of OCI, and the version is the project's."""
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in config["Labels"].items()
    }
    assert labels["title"] == "convlast"
    assert labels["version"] == convlast.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"]


def test_nothing_that_builds_is_left(engine: Engine, image: str) -> None:
    """Neither pip nor a compiler is there, nor what was mounted to build with."""
    assert run(engine, image, "python3", "-c", FIND_PROGRAMS, *BUILDERS).split() == []
    assert run(engine, image, "python3", "-c", FIND_FILES, *MOUNTED).split() == []


def test_all_packages_are_pinned(engine: Engine, image: str) -> None:
    """What pip has put in has the version that constraints.txt says."""
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    listed = run(engine, image, "python3", "-c", LIST_PACKAGES).splitlines()
    installed = dict(line.lower().replace("_", "-").split() for line in listed)
    assert installed.pop("convlast") == convlast.__version__
    assert installed["torch"].partition("+")[0] == pins["torch"]
    del installed["torch"]
    assert installed.items() <= pins.items()


def test_no_secret_is_in_a_layer(engine: Engine, image: str) -> None:
    """Pip's configuration is in no layer, no history and no setting of what would be pushed."""
    command = ["docker", "save", image]
    with subprocess.Popen(command, env=dict(engine.environment), stdout=subprocess.PIPE) as saving:
        counted = subprocess.run(
            ["grep", "--count", "--text", CANARY],
            stdin=saving.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    assert saving.returncode == 0
    assert counted.stdout.strip() == "0"


def test_torch_lies_below_the_code(engine: Engine, image: str) -> None:
    """A change of the code leaves the layer with torch as it was."""
    history = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    from_the_top = history.splitlines()
    (torch,) = (at for at, line in enumerate(from_the_top) if '"torch==' in line)
    code = [at for at, line in enumerate(from_the_top) if "/wheels/" in line or "COPY" in line]
    assert len(code) == 2
    assert max(code) < torch


def test_nnunets_scalars_can_be_read(engine: Engine, image: str) -> None:
    """NumPy is there, and torch loads without a warning."""
    script = "import torch; print(torch.ones(1).numpy())"
    assert run(engine, image, "python3", "-W", "error", "-c", script).strip() == "[1.]"
