"""deploy/batch: conversions as jobs of a cluster, without the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import typer
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from convlast.cli import app
from tests.deploy.kubernetes.test_schemas import SUPPORTED

FOLDER = Path(__file__).parents[2] / "deploy" / "batch"
JOB: dict[str, Any] = yaml.safe_load((FOLDER / "job.yaml").read_text())
WORKFLOW: dict[str, Any] = yaml.safe_load((FOLDER / "argo.yaml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = {
    "job": JOB["spec"]["template"]["spec"]["containers"][0],
    "argo": next(each for each in WORKFLOW["spec"]["templates"] if "container" in each)[
        "container"
    ],
}


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_job_fits_the_schema(version: str) -> None:
    """The API takes it, and ignores none of its fields."""
    kubernetes_validate.validate(JOB, version, strict=True)


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_command_line_is_ours(name: str) -> None:
    """The command and its options exist, and the addresses are those of stores."""
    container = CONTAINERS[name]
    program, command = container["command"]
    assert program == "convlast"
    main = typer.main.get_command(app)
    given = [arg.replace("{{inputs.parameters.model}}", "m.pt") for arg in container["args"]]
    parsed = main.commands[command].make_context(command, given)  # type: ignore[attr-defined]  # a group
    assert str(parsed.params["source"]).startswith("s3://")
    assert str(parsed.params["target"]).startswith("s3://")


@pytest.mark.parametrize("name", CONTAINERS)
def test_there_is_room_for_temporary_files(name: str) -> None:
    """They lie in a volume, since the root is read-only."""
    container = CONTAINERS[name]
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    assert {each["value"] for each in container["env"] if each["name"] == "TMPDIR"} <= mounts
