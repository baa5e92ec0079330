from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.utils import canonicalize_name
from torch import nn

import convlast
from tests.container.deployment import REVISION
from tests.container.engine import Engine
from tests.container.pip_configuration import CANARY
from tests.container.test_pins import FILES, FOLDER, pins

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
    assert labels["revision"] == REVISION
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"]


def test_nothing_that_builds_is_left(engine: Engine, image: str) -> None:
    """Neither pip nor a compiler is there, nor what was mounted to build with."""
    assert run(engine, image, "python3", "-c", FIND_PROGRAMS, *BUILDERS).split() == []
    assert run(engine, image, "python3", "-c", FIND_FILES, *MOUNTED).split() == []


def test_all_packages_are_pinned(engine: Engine, image: str) -> None:
    """The installed packages are those of deploy/image, in their versions, and no others."""
    listed = run(engine, image, "python3", "-c", LIST_PACKAGES).splitlines()
    installed = {str(canonicalize_name(name)): at for name, at in map(str.split, listed)}
    assert installed.pop("convlast") == convlast.__version__
    version, _, build = installed.pop("torch").partition("+")
    expected = pins(*(file for file in FILES if file.name in ("torch-needs.txt", "packages.txt")))
    of_torch = pins(FOLDER / "torch.txt")
    assert version == of_torch["torch"]
    extra = {} if build else {name: of_torch[name] for name in installed if name in of_torch}
    assert installed == expected | extra


def test_the_sbom_lists_the_packages(engine: Engine, image: str) -> None:
    """It is in the image, in the format of CycloneDX, and has what is installed."""
    sbom = json.loads(run(engine, image, "cat", "/srv/sbom.json"))
    listed = run(engine, image, "python3", "-c", LIST_PACKAGES).splitlines()
    assert sbom["bomFormat"] == "CycloneDX"
    assert {f"{each['name']} {each['version']}" for each in sbom["components"]} == set(listed)


def test_torch_comes_without_headers_and_tests(engine: Engine, image: str) -> None:
    """They are a fifth of it, and nothing in an image without a compiler can use them."""
    script = "import pathlib, torch; print(*pathlib.Path(torch.__file__).parent.glob('*/'))"
    folders = {Path(each).name for each in run(engine, image, "python3", "-c", script).split()}
    assert {"lib", "bin"} <= folders
    assert not {"include", "test"} & folders


def test_the_command_works_inside(engine: Engine, image: str, tmp_path: Path) -> None:
    """`convlast convert` converts a file of a folder that is mounted."""
    torch.save(nn.Conv3d(2, 4, 3).state_dict(), tmp_path / "model.pt")
    folder = f"{tmp_path}:/data"
    command = ("convlast", "convert", "/data/model.pt", "-q")
    options = ("--rm", "--network", "none", "--user", "0", "--read-only", "--volume", folder)
    engine.docker("run", *options, image, *command)
    converted = tmp_path / "model.channels_last_3d.pt"
    proof = convlast.verify(tmp_path / "model.pt", converted)
    assert proof.verdict in {"passed", "passed_with_findings"}


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


def test_nnunets_scalars_can_be_read(engine: Engine, image: str) -> None:
    """NumPy is there, and torch loads without a warning."""
    script = "import torch; print(torch.ones(1).numpy())"
    assert run(engine, image, "python3", "-W", "error", "-c", script).strip() == "[1.]"
