"""What the kit carries, at the versions of the project."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KIT = ROOT / "scripts" / "gpu"


def pins(path: Path) -> dict[str, str]:
    """Read the packages of a file of requirements; the version is empty where there is none."""
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    parts = [line.partition("==") for line in lines if line]
    return {name.lower().replace("_", "-"): version for name, _, version in parts}


CONSTRAINTS = pins(ROOT / "constraints.txt")
RECIPES = pins(ROOT / "tests" / "recipes" / "requirements.txt")
WHEELS = pins(KIT / "wheels.txt") | pins(KIT / "models.txt")


@pytest.mark.parametrize("name", WHEELS)
def test_a_package_has_one_version(name: str) -> None:
    """That of the project; or its own, where the project does not have it."""
    versions = {pinned[name] for pinned in (CONSTRAINTS, RECIPES) if name in pinned}
    assert len({*versions, *filter(None, [WHEELS[name]])}) == 1
    assert bool(versions) != bool(WHEELS[name])


def test_what_is_built_is_pinned() -> None:
    """It is nothing that the project has."""
    built = pins(KIT / "sdists.txt")
    assert all(built.values())
    assert not built.keys() & {*CONSTRAINTS, *RECIPES, *WHEELS}


def test_the_machine_keeps_its_torch() -> None:
    """Nothing comes along that belongs to a build of PyTorch."""
    theirs = {name for name in WHEELS if name.startswith(("torch", "triton", "nvidia-", "cuda"))}
    assert theirs == {"nvidia-ml-py"}


@pytest.mark.parametrize("script", sorted(KIT.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_one_that_bash_can_read(script: Path) -> None:
    """`prepare.sh` needs a network, and is not run by any test."""
    subprocess.run(["bash", "-n", script], check=True)
