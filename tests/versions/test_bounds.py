from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNTRIED = {"dev", "otel", "ray"}
"""Extras that `make oldest` does not install: only developers need `dev`, `otel` needs a newer
FastAPI than the service does, and `ray` is one version, which `make ray` installs."""


def requirements() -> Iterator[Requirement]:
    """Yield what the package and its extras need of others."""
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(extras[name] for name in extras.keys() - UNTRIED)]
    for line in (line for lines in lists for line in lines):
        if (requirement := Requirement(line)).name != PROJECT["name"]:
            yield requirement


def pins(path: Path) -> dict[str, Version]:
    """Return the version of each package in a file of constraints."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(each.name): Version(str(each.specifier)[2:]) for each in found}


OLDEST = pins(Path(__file__).with_name("oldest.txt"))
NEWEST = pins(ROOT / "constraints.txt")


@pytest.mark.parametrize("requirement", list(dict.fromkeys(requirements())), ids=str)
def test_lower_bounds_are_those_that_are_tested(requirement: Requirement) -> None:
    """`make oldest` installs the lowest version that is allowed; `make setup` an allowed one."""
    name = canonicalize_name(requirement.name)
    [lowest] = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    assert OLDEST[name] == lowest
    assert requirement.specifier.contains(NEWEST[name])


@pytest.mark.parametrize("line", PROJECT["optional-dependencies"]["dev"])
def test_tools_are_pinned(line: str) -> None:
    """The version of each tool that `make setup` installs is an allowed one."""
    requirement = Requirement(line)
    if requirement.name != PROJECT["name"]:
        assert requirement.specifier.contains(NEWEST[canonicalize_name(requirement.name)])


@pytest.mark.parametrize(
    ("extra", "module"),
    [
        ("cli", "__main__"),
        ("client", "cli/remote"),
        ("safetensors", "checkpoints/safetensors"),
        ("signing", "provenance/signing"),
        ("stores", "stores/opening"),
    ],
)
def test_a_missing_extra_is_named_by_its_packages(extra: str, module: str) -> None:
    """These can be had from any index; `convlast[...]` only where convlast itself comes from."""
    names = sorted(Requirement(line).name for line in PROJECT["optional-dependencies"][extra])
    assert f'pip install {" ".join(names)}"' in (ROOT / f"convlast/{module}.py").read_text()


def test_the_environment_is_a_whole_one() -> None:
    """Every package that is needed is here, in a version that is allowed."""
    for requirement in requirements():
        assert requirement.specifier.contains(metadata.version(requirement.name)), requirement
