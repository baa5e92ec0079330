"""deploy/pipelines/github: the action's steps run, and its example takes no more than it needs."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.deploy.pipelines.steps import FOLDER, environment, run
from tests.service.running import ROOT

ACTION: dict[str, Any] = yaml.safe_load((FOLDER / "github" / "action.yml").read_text())
WORKFLOW: dict[str, Any] = yaml.safe_load((FOLDER / "github" / "workflow.yml").read_text())
INSTALL, CONVERT = ACTION["runs"]["steps"]
INPUT = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")
NAME = 'it\'s "$(touch pwned)"\n${{ secrets.KEY }}.pt'


def perform(
    step: dict[str, Any], cwd: Path, env: dict[str, str], inputs: dict[str, str], status: int = 0
) -> dict[str, str]:
    """Run a step as GitHub does, and return the files that a job gives it."""
    given = {name: str(each.get("default", "")) for name, each in ACTION["inputs"].items()}
    given |= inputs
    values = {name: INPUT.sub(lambda m: given[m[1]], v) for name, v in step.get("env", {}).items()}
    outside = cwd.parent / "runner"
    outside.mkdir()
    files = {name: outside / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    files["GITHUB_PATH"] = outside / "GITHUB_PATH"
    for file in files.values():
        file.touch()
    of_runner = {
        "GITHUB_ACTION_PATH": str(FOLDER / "github"),
        "RUNNER_TEMP": str(outside),
        **{name: str(file) for name, file in files.items()},
    }
    (outside / "step.sh").write_text(step["run"])
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(outside / "step.sh")]
    run(command, cwd, {**env, **values, **of_runner}, status)
    return {name: file.read_text() for name, file in files.items()}


def by_service(remote: dict[str, str]) -> dict[str, str]:
    """Return the inputs with which a service does the work."""
    key = remote["CONVLAST_API_KEY"]
    return {"checkpoint": "model.pt", "server": remote["CONVLAST_SERVER"], "api-key": key}


def test_the_step_converts(remote: dict[str, str], checkout: Path) -> None:
    """The decision is an output, and the page of the job shows the report."""
    found = perform(CONVERT, checkout, remote, by_service(remote))
    assert found["GITHUB_OUTPUT"] == "decision=convert\n"
    assert "model.channels_last_3d.pt" in found["GITHUB_STEP_SUMMARY"]
    assert (checkout / "conversion" / "model" / "model.channels_last_3d.pt").is_file()


def test_a_gate_fails_the_step(remote: dict[str, str], checkout: Path) -> None:
    """There is no decision, and the page of the job says why."""
    (checkout / "model.pt").write_text("fails-verification 2")
    found = perform(CONVERT, checkout, remote, by_service(remote), status=1)
    assert found["GITHUB_OUTPUT"] == ""
    assert "They differ." in found["GITHUB_STEP_SUMMARY"]


def test_inputs_are_no_commands(played: dict[str, str], checkout: Path) -> None:
    """The name of a file, the folder and the gates reach convlast as they are."""
    (checkout / "model.pt").rename(checkout / NAME)
    gates = {"min-speedup": "1; touch pwned", "max-error": "$(touch pwned)", "fail-on": "a b"}
    names = {"checkpoint": NAME, "folder": "$(touch pwned)"}
    perform(CONVERT, checkout, played, names | gates)
    assert {each.name for each in checkout.iterdir()} == {NAME, "$(touch pwned)", "called.json"}
    arguments = (checkout / "called.json").read_text()
    for given in ("--fail-on=a b", "--min-speedup=1; touch pwned", "--max-error=$(touch pwned)"):
        assert given in arguments


@pytest.mark.parametrize("each", [INSTALL, CONVERT, *WORKFLOW["jobs"]["use"]["steps"]])
def test_no_expression_is_in_a_script(each: dict[str, Any]) -> None:
    """GitHub would put the value of an input into it before a shell reads it."""
    assert "${{" not in each.get("run", "")


def test_convlast_is_installed_from_the_action(checkout: Path, tmp_path: Path) -> None:
    """In the version of the action, by its pins; what is there already stays."""
    made = tmp_path / "bin"
    made.mkdir()
    python = made / "python3"
    python.write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\necho \'echo "$@" >given\' >"$3/bin/pip"\n'
        'chmod +x "$3/bin/pip"\n'
    )
    python.chmod(0o755)
    found = perform(INSTALL, checkout, {"PATH": f"{made}:{os.defpath}"}, {})
    given = (checkout / "given").read_text().split()
    assert Path(given[given.index("--constraint") + 1]).resolve() == ROOT / "constraints.txt"
    folder, _, extras = given[-1].removesuffix("]").partition("[")
    assert Path(folder).resolve() == ROOT
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert found["GITHUB_PATH"] == f"{tmp_path / 'runner' / 'convlast' / 'bin'}\n"


def test_what_is_there_is_not_installed_again(ours: Path, checkout: Path) -> None:
    """Such as in a container with an image of convlast."""
    assert perform(INSTALL, checkout, environment(ours), {})["GITHUB_PATH"] == ""


def test_the_example_may_do_little() -> None:
    """No job has a permission by default, and none can write to the repository."""
    assert WORKFLOW["permissions"] == {}
    assert WORKFLOW["jobs"]["convert"]["permissions"] == {
        "contents": "read",
        "actions": "read",
        "security-events": "write",
    }
    assert "permissions" not in WORKFLOW["jobs"]["use"]


def test_each_action_has_a_version() -> None:
    """And a word on the commit that is better."""
    lines = [
        line
        for line in (FOLDER / "github" / "workflow.yml").read_text().splitlines()
        if re.search(r"^\s+(- )?uses:", line)
    ]
    assert len(lines) >= 5
    assert all(re.search(r"@v\d[\d.]* # .*the commit goes here$", line) for line in lines)


def test_the_example_gives_inputs_that_there_are() -> None:
    """Those of the action, and outputs of its step."""
    steps = WORKFLOW["jobs"]["convert"]["steps"]
    ours = next(each for each in steps if each.get("id") == "convlast")
    assert ours["with"].keys() <= ACTION["inputs"].keys()
    outputs = WORKFLOW["jobs"]["convert"]["outputs"].values()
    used = {
        name for each in outputs for name in re.findall(r"steps\.convlast\.outputs\.(\w+)", each)
    }
    assert used == ACTION["outputs"].keys()
