"""The pipelines fit the schemas of those who run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from hera.workflows.models import WorkflowTemplate

from tests.deploy.pipelines.steps import FOLDER

KINDS = {
    "github/action.yml": "github-actions",
    "github/workflow.yml": "github-workflows",
    "gitlab.yml": "gitlab-ci",
}
Changed = tuple[str, str]
SLIPS: dict[str, Changed] = {
    "github/action.yml": ("using: composite", "use: composite"),
    "github/workflow.yml": ("security-events: write", "security-events: yes"),
    "gitlab.yml": ("when: always", "when: ever"),
}


def faults(file: Path, kind: str) -> str:
    """Return what the schema of this kind says against a file; it comes with the checker."""
    program = Path(sys.executable).with_name("check-jsonschema")
    transform = ["--data-transform", "gitlab-ci"] if kind == "gitlab-ci" else []
    command = [str(program), "--builtin-schema", f"vendor.{kind}", *transform, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout if done.returncode else ""


def written(name: str, folder: Path, slip: Changed = ("", "")) -> Path:
    """Write a pipeline anew, with a change, and so that no job in it is hidden from the checker."""
    text = (FOLDER / name).read_text().replace("\n.convlast:", "\nconvlast:")
    assert slip[0] in text
    (folder / "file.yml").write_text(text.replace(*slip) if slip[0] else text)
    return folder / "file.yml"


@pytest.mark.parametrize("name", KINDS)
def test_it_fits_the_schema(name: str, tmp_path: Path) -> None:
    """GitHub and GitLab take it."""
    assert faults(written(name, tmp_path), KINDS[name]) == ""


@pytest.mark.parametrize("name", KINDS)
def test_a_slip_of_the_pen_is_found(name: str, tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    assert faults(written(name, tmp_path, SLIPS[name]), KINDS[name])


def argo(slip: Changed = ("", "")) -> tuple[Any, Any]:
    """Return the template for Argo, and what is left of it in Argo's own types."""
    text = (FOLDER / "argo.yaml").read_text()
    given = yaml.safe_load(text.replace(*slip) if slip[0] else text)
    read = WorkflowTemplate.model_validate(given)
    return given, read.model_dump(by_alias=True, exclude_unset=True, mode="json")


def test_argo_takes_each_field() -> None:
    """Its types, in Python by Hera, know all that is in the template, and lose nothing."""
    given, kept = argo()
    assert given == kept


def test_a_slip_for_argo_is_found() -> None:
    """A field that it does not know is lost, and so the test above fails."""
    given, kept = argo(("archive: {none", "archived: {none"))
    assert given != kept
