from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container import layers, pip_configuration
from tests.container.deployment import CPU, Deployment
from tests.container.engine import ROOT, Engine

pytestmark = pytest.mark.container

CHANGED = "convlast:test-changed"
CONTEXT = ("convlast", "deploy", "service", "Dockerfile", ".dockerignore", "LICENSE")
SHIPPED_BYTES = 1_000_000


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what a build takes, and the compose files."""
    for name in (*CONTEXT, "README.md", "pyproject.toml", *CPU):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, tmp_path / name)
    return tmp_path


@pytest.fixture
def building(
    engine: Engine, image: str, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Return the build of that copy, under another name."""
    files = (*(str(checkout / each) for each in CPU), str(ROOT / "tests/container/build.yml"))
    with pip_configuration.build_secrets(tmp_path_factory.mktemp("secrets")) as variables:
        yield Deployment(engine, files, {**variables, "CONVLAST_IMAGE": CHANGED})
    engine.docker("image", "rm", "--force", CHANGED, check=False)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("README.md", "\nOne more line.\n"),
        ("convlast/smoke/__init__.py", "\nONE_MORE_LINE = 1\n"),
        ("convlast/errors/__init__.py", "\nONE_MORE_LINE = 1\n"),
        ("service/app.py", "\nONE_MORE_LINE = 1\n"),
    ],
)
def test_a_change_of_one_line_ships_little(
    name: str, line: str, image: str, checkout: Path, building: Deployment
) -> None:
    """Less than 1 MB is new to a registry, so no layer of packages is."""
    before = layers.digests(building.engine, image)
    changed = checkout / name
    changed.write_text(changed.read_text() + line)
    building.compose("build")
    assert 0 < layers.shipped_bytes(building.engine, CHANGED, before) < SHIPPED_BYTES


def test_torch_lies_below_the_code(engine: Engine, image: str) -> None:
    """The steps of the build are in the order in which they seldom change."""
    history = engine.docker(
        "history", "--no-trunc", "--format", "{{.CreatedBy}}", image
    ).splitlines()
    steps = [
        re.search(r"requirement \S+/(torch|packages)\.txt|COPY /layers", line) for line in history
    ]
    found = [each[1] or "code" for each in reversed(steps) if each]
    assert found == ["torch", "packages", *["code"] * 4]
