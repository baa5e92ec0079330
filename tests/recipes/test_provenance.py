"""OpenSSF Model Signing over an output folder, as docs/provenance.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.convlast.folders import building
from tests.convlast.provenance.page import block_with, run_in

pytestmark = pytest.mark.recipes

SCRIPT = block_with("model_signing sign")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the recipe beside a model folder."""
    folder = tmp_path_factory.mktemp("recipe")
    building.model_folder(folder / "vae")
    done = run_in(folder, SCRIPT.replace("convert vae", "convert vae --smoke none"))
    assert done.returncode == 0, done.stderr
    assert "Signing succeeded" in done.stdout + done.stderr
    assert "Verification succeeded" in done.stdout + done.stderr
    assert "the bytes that the statement is about" in done.stdout
    return folder


def test_both_see_a_changed_file(folder: Path) -> None:
    """The signature of the folder, and the statement."""
    model_signing, convlast = (
        next(line for line in SCRIPT.splitlines() if line.startswith(verb))
        for verb in ("model_signing verify", "convlast verify")
    )
    path = next(each for each in (folder / "vae-converted").rglob("*") if each.is_file())
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    assert run_in(folder, model_signing).returncode != 0
    assert path.name in run_in(folder, convlast).stderr
    path.write_bytes(content)
    assert run_in(folder, f"{model_signing}\n{convlast}").returncode == 0
