"""The commands of deploy/pipelines/README.md, in order, as in a fresh clone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.deploy.pipelines.steps import FOLDER, environment, run
from tests.service.running import REAL, ROOT, served

PAGE = (FOLDER / "README.md").read_text()
BLOCKS = [each for each in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "make " not in each]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_the_day_goes_as_it_is_told(ours: Path, tmp_path: Path) -> None:
    """It converts, verifies, is stopped by a gate, finds what got worse, and asks a service."""
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "deploy").symlink_to(ROOT / "deploy")
    with served(tmp_path, REAL) as service:
        # One shell, as a reader has: what one block leaves, the next one finds.
        script = "\n".join(BLOCKS).replace("http://127.0.0.1:8000", service.url)
        done = run(["bash", "-euo", "pipefail", "-c", script], clone, environment(ours))
    for line in ("refused: 1", "stopped: 1", "worse: 1"):
        assert f"\n{line}\n" in f"\n{done.stdout}"
    assert (clone / "monday" / "decision").read_text() == "convert"
    assert (clone / "monday" / "model" / "monday.channels_last_3d.pt").is_file()
    assert "convlast: warnings-found: " in (clone / "tuesday" / "report.md").read_text()
    assert not (clone / "tuesday" / "model").exists()
    assert "fp16-overflow" in (clone / "changes.md").read_text()
    assert (clone / "served" / "decision").read_text() == "keep"
    assert (clone / "served" / "model" / "monday.pt").is_file()


@pytest.mark.parametrize(
    "name",
    ["README.md", "convert.sh", "argo.yaml", "gitlab.yml", "kubeflow.yaml", "github/action.yml"],
)
def test_who_names_a_service_says_what_it_takes(name: str) -> None:
    """No model folder as it is, though the step itself takes one."""
    assert re.search(r"\bmodel folder\b[^.]*\bpack(ed)?\b", (FOLDER / name).read_text())


def test_its_table_names_what_there_is() -> None:
    """Each file of the folder, and no other; links lead to files."""
    table = PAGE.partition("## What the step does")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in row.split("`")[1::2]
    }
    files = {str(each.relative_to(FOLDER)) for each in FOLDER.rglob("*") if each.is_file()}
    assert named == files - {"README.md"}
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (FOLDER / link).exists(), link
