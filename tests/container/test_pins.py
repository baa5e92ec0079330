"""The pins of the image, in `deploy/image/`. No engine is needed."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.container.engine import ROOT

FOLDER = ROOT / "deploy" / "image"
FILES = sorted(FOLDER.glob("*.txt"))
OF_IMAGE = [file for file in FILES if file.name not in ("tools.txt", "ray.txt")]
PIN = re.compile(
    r"([a-z0-9-]+)==([\w.]+)( ; [^\\\n]+)? \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
)


def pins(*files: Path) -> dict[str, str]:
    """Return the version of each package."""
    return {found[1]: found[2] for file in files for found in PIN.finditer(file.read_text())}


def needs(name: str, extras: set[str], found: set[str]) -> set[str]:
    """Return the packages that one needs, and what these need, as installed here."""
    for each in map(Requirement, distribution(name).requires or []):
        marker = each.marker
        is_needed = not marker or any(marker.evaluate({"extra": it}) for it in extras | {""})
        if is_needed and f"{each.name}{each.extras}" not in found:
            found.add(f"{each.name}{each.extras}")
            needs(each.name, each.extras, found)
    return {canonicalize_name(each.partition("{")[0].removesuffix("set()")) for each in found}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_package_has_a_hash(file: Path) -> None:
    """A file of pins holds nothing else, and names no index."""
    rest = PIN.sub("", "\n".join(file.read_text().splitlines()[1:]) + "\n")
    assert rest == ""
    assert pins(file)


def test_the_versions_are_those_of_the_constraints() -> None:
    """`make pins` has run since constraints.txt changed; not all of the others are there."""
    constraints = {
        str(canonicalize_name(name)): version
        for name, _, version in (
            line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
        )
        if version
    }
    of_others = pins(FOLDER / "tools.txt") | pins(FOLDER / "ray.txt")
    of_image = pins(*OF_IMAGE)
    assert of_image.items() <= constraints.items()
    assert {name: constraints.get(name, of_others[name]) for name in of_others} == of_others


def test_the_cluster_has_the_ray_of_the_tests() -> None:
    """The image of a cluster adds what `make ray` tests with, and brings nothing twice."""
    of_tests = (ROOT / "tests/service/ray_engine/requirements.txt").read_text().split()
    of_ray = pins(FOLDER / "ray.txt")
    assert {tuple(each.split("==")) for each in of_tests} <= of_ray.items()
    assert not of_ray.keys() & pins(*OF_IMAGE).keys()


def test_nothing_that_is_needed_is_missing() -> None:
    """What convlast needs with the extras of the image is pinned, and each package once."""
    of_image = [name for file in OF_IMAGE for name in pins(file)]
    assert len(of_image) == len(set(of_image))
    found = needs("convlast", {"service", "cli"}, set()) - {"convlast"}
    assert "uvloop" in found
    assert found <= set(of_image)
