from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scripts import tables
from service.problems import TABLE
from tests.service.running import REAL, Running, start

README = (tables.ROOT / "README.md").read_text()
DONE_BY_MAKE = re.compile(r"make ([\w-]+)")


def blocks(language: str) -> list[str]:
    """Return the code blocks of the README in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def network() -> nn.Sequential:
    """Return the model whose checkpoint the README's commands convert."""
    return nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the checkpoint `model.pt` in it."""
    folder = tmp_path_factory.mktemp("readme")
    torch.save(network().state_dict(), folder / "model.pt")
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve, as `make serve` does."""
    running = start(tmp_path_factory.mktemp("service"), REAL)
    running.wait_until_ready()
    yield running
    running.stop()


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.stem)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    """Options, settings, codes and figures in a page are what the code and results say."""
    text = page.read_text()
    assert tables.filled(text) == text, "run make fix"


def test_every_error_code_has_a_row() -> None:
    """A code of the closed table can be found by a reader."""
    errors = (tables.ROOT / "docs" / "reference" / "errors.md").read_text()
    assert all(f"`{code}`" in errors for code in TABLE)


def test_the_readme_is_short() -> None:
    """A newcomer reads it to the end; all else has a page of its own."""
    assert len(README.splitlines()) <= 200


def test_links_lead_somewhere() -> None:
    """Every link of the README and the pages of reference to a file finds it."""
    for page in tables.PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_paths_lead_somewhere() -> None:
    """Every path that a document names in backquotes exists; decisions tell of the past."""
    root = tables.ROOT
    path = re.compile(r"`((?:benchmarks|convlast|deploy|docs|scripts|service|tests)/[\w./-]+)`")
    pages = [*root.glob("*.md"), *root.glob("docs/*.md"), root / "benchmarks" / "README.md"]
    named = {(page.name, found) for page in pages for found in path.findall(page.read_text())}
    assert len(named) > 50
    assert [each for each in sorted(named) if not (root / each[1]).exists()] == []


def test_every_make_target_is_there() -> None:
    """What the README says to make, the Makefile makes."""
    makefile = (tables.ROOT / "Makefile").read_text()
    targets = set(DONE_BY_MAKE.findall(README))

    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.skipif(shutil.which("unzip") is None, reason="no unzip on this machine")
def test_the_shell_blocks_run(folder: Path, service: Running) -> None:
    """Every command of the README does what it says, in order, on a real service."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    commands = [block for block in blocks("sh") if not DONE_BY_MAKE.match(block)]

    for block in commands:
        script = block.replace("http://127.0.0.1:8000", service.url)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"

    assert len(commands) >= 2
    assert (folder / "model.channels_last_3d.pt").is_file()
    assert {"model.channels_last_3d.pt", "report.json", "report.html"} <= {
        path.name for path in (folder / "out").iterdir()
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_a_refusal_is_shown(tmp_path: Path, service: Running) -> None:
    """The README's curl, given a file that is no checkpoint, prints the reason."""
    (tmp_path / "model.pt").write_text("no checkpoint")
    command = next(line for line in README.splitlines() if line.startswith("curl "))
    script = command.replace("http://127.0.0.1:8000", service.url)

    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "422" in done.stderr
    problem = json.loads(done.stdout)
    assert problem["code"] == "not-a-checkpoint"
    assert done.stdout.endswith("}\n")


def test_every_curl_keeps_the_body_of_a_refusal() -> None:
    """`-f` would throw the reason away."""
    pages = [tables.ROOT / "README.md", *tables.ROOT.glob("docs/**/*.md")]
    for page in pages:
        for line in page.read_text().splitlines():
            if line.startswith("curl "):
                assert " --fail-with-body " in line, f"{page.name}: {line}"


def test_the_python_blocks_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python of the README converts a checkpoint, and loads it with its layout."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"torch": torch, "model": network()}

    for block in blocks("python"):
        exec(block, names)  # noqa: S102  # the README's own code

    weight = names["model"][0].weight
    assert weight.stride() == (54, 1, 18, 6, 2)
