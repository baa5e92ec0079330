"""The templates for GitLab, Argo Workflows and Kubeflow run, and what they name is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.deploy.pipelines import kubeflow
from tests.deploy.pipelines.steps import FOLDER, run
from tests.service.running import ROOT

GITLAB: dict[str, Any] = yaml.safe_load((FOLDER / "gitlab.yml").read_text())[".convlast"]
ARGO: dict[str, Any] = yaml.safe_load((FOLDER / "argo.yaml").read_text())["spec"]["templates"][0]
KUBEFLOW: dict[str, Any] = yaml.safe_load((FOLDER / "kubeflow.yaml").read_text())
NAME = 'it\'s "$(touch pwned)" .pt'


def arguments(checkout: Path) -> list[str]:
    """Return the arguments of the played `convlast`."""
    found: list[str] = json.loads((checkout / "called.json").read_text())["arguments"]
    return found


def test_the_image_has_the_step() -> None:
    """In a folder of its PATH, under the name that the templates call."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "deploy/pipelines/convert.sh /opt/convlast/bin/convlast-step\n" in dockerfile
    assert "PATH=/opt/convlast/bin:" in dockerfile
    assert ARGO["container"]["command"] == ["convlast-step"]
    assert GITLAB["script"][0].startswith("convlast-step ")
    assert "\nconvlast-step " in KUBEFLOW["implementation"]["container"]["command"][2]


def in_gitlab(
    checkout: Path, env: dict[str, str], variables: dict[str, str], status: int = 0
) -> None:
    """Run the job as GitLab does: its lines in one shell, which ends at the first failure."""
    script = "\n".join(["set -eo pipefail", *GITLAB["script"]])
    run(["bash", "-c", script], checkout, {**env, **GITLAB["variables"], **variables}, status)


def test_gitlab_converts(remote: dict[str, str], checkout: Path) -> None:
    """Each file that the job keeps is there, and the next job has the decision."""
    of_project = {name: value for name, value in remote.items() if name.startswith("CONVLAST_")}
    in_gitlab(checkout, remote, of_project)
    kept, reports = GITLAB["artifacts"]["paths"], GITLAB["artifacts"]["reports"]
    for path in (*kept, *reports.values()):
        assert (checkout / path).exists(), path
    assert (checkout / reports["dotenv"]).read_text() == "CONVLAST_DECISION=convert\n"


def test_gitlab_fails_by_a_gate(remote: dict[str, str], checkout: Path) -> None:
    """The report for its view of tests is there, and is kept."""
    (checkout / "model.pt").write_text("fails-verification 2")
    of_project = {name: value for name, value in remote.items() if name.startswith("CONVLAST_")}
    in_gitlab(checkout, remote, of_project, status=1)
    assert "<failure" in (checkout / GITLAB["artifacts"]["reports"]["junit"]).read_text()
    assert GITLAB["artifacts"]["when"] == "always"


def test_variables_of_gitlab_are_no_commands(played: dict[str, str], checkout: Path) -> None:
    """Names and gates reach convlast as they are."""
    (checkout / "model.pt").rename(checkout / NAME)
    hostile = {"CHECKPOINT": NAME, "MIN_SPEEDUP": "1 2", "MAX_ERROR": "$(touch pwned)"}
    in_gitlab(checkout, played, hostile)
    given = arguments(checkout)
    assert {"--min-speedup=1 2", "--max-error=$(touch pwned)"} <= set(given)
    assert {each.name for each in checkout.iterdir()} == {NAME, "conversion", "called.json"}


def in_argo(checkout: Path, env: dict[str, str], **given: str) -> dict[str, Any]:
    """Run the container of the template for Argo, and return its outputs, with /work here."""
    values = {each["name"]: each["value"] for each in ARGO["inputs"]["parameters"]}
    values |= {name.replace("_", "-"): value for name, value in given.items()}

    def filled(each: Any) -> Any:
        text = json.dumps(each).replace('"/work', f'"{checkout}')
        pattern = re.compile(r"\{\{inputs\.parameters\.([\w-]+)\}\}")
        return json.loads(pattern.sub(lambda m: json.dumps(values[m[1]])[1:-1], text))

    container = filled(ARGO["container"])
    (source,) = filled(ARGO["inputs"]["artifacts"])
    assert container["args"][0] == source["path"]
    own = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    command = [*container["command"], *container["args"]]
    run(command, checkout, {**env, **own, "TMPDIR": str(checkout.parent)})
    outputs: dict[str, Any] = filled(ARGO["outputs"])
    return outputs


def test_argo_converts(remote: dict[str, str], checkout: Path) -> None:
    """Each output is where the template says."""
    outputs = in_argo(checkout, remote, server=remote["CONVLAST_SERVER"])
    (decision,) = outputs["parameters"]
    assert Path(decision["valueFrom"]["path"]).read_text() == "convert"
    assert len(outputs["artifacts"]) == 7
    assert all(Path(each["path"]).exists() for each in outputs["artifacts"])


def test_parameters_of_argo_are_no_commands(played: dict[str, str], checkout: Path) -> None:
    """Names, gates and options reach convlast as they are."""
    (checkout / "model.pt").rename(checkout / NAME)
    in_argo(checkout, played, filename=NAME, fail_on="$(touch pwned)", options="--a=b c\n--d")
    assert {"--fail-on=$(touch pwned)", "--a=b c", "--d"} <= set(arguments(checkout))
    assert {each.name for each in checkout.iterdir()} == {NAME, "conversion", "called.json"}


def in_kubeflow(checkout: Path, env: dict[str, str], **given: str) -> dict[str, Path]:
    """Run the component as Kubeflow does, and return where its outputs are."""
    inputs = {each["name"]: str(each.get("default", "")) for each in KUBEFLOW["inputs"]}
    inputs |= {"checkpoint": str(checkout / "model.pt"), **given}
    outputs = {each["name"]: checkout / "outputs" / each["name"] for each in KUBEFLOW["outputs"]}
    container = KUBEFLOW["implementation"]["container"]

    def filled(each: dict[str, str]) -> str:
        ((kind, name),) = each.items()
        return str(outputs[name]) if kind == "outputPath" else inputs[name]

    command = [*container["command"], *map(filled, container["args"])]
    run(command, checkout, {**env, "TMPDIR": str(checkout.parent / "made" / "by" / "the service")})
    return outputs


def test_kubeflow_converts(remote: dict[str, str], checkout: Path) -> None:
    """Each output is where Kubeflow looks for it, and of its kind."""
    outputs = in_kubeflow(checkout, remote, server=remote["CONVLAST_SERVER"])
    assert outputs["decision"].read_text() == "convert"
    assert [each.name for each in outputs["model"].iterdir()] == ["model.channels_last_3d.pt"]
    assert json.loads(outputs["report"].read_text())["verdict"] == "passed"
    assert "subject" in json.loads(outputs["statement"].read_text())
    assert outputs["summary"].read_text().startswith("#")
    assert outputs["page"].read_text().startswith("<!doctype html>")


def test_inputs_of_kubeflow_are_no_commands(played: dict[str, str], checkout: Path) -> None:
    """Gates and options reach convlast as they are."""
    in_kubeflow(checkout, played, fail_on="$(touch pwned)", options="--a=b c\n--d")
    assert {"--fail-on=$(touch pwned)", "--a=b c", "--d"} <= set(arguments(checkout))
    assert not (checkout / "pwned").exists()


@pytest.mark.kubeflow
def test_kubeflow_takes_the_component() -> None:
    """Its SDK loads it, and compiles a pipeline with it."""
    done = subprocess.run(
        [kubeflow.PYTHON, "-c", kubeflow.COMPILE, FOLDER / "kubeflow.yaml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    compiled = json.loads(done.stdout)
    found = compiled["components"]["comp-convert-to-channels-last-3d"]
    inputs, outputs = found["inputDefinitions"], found["outputDefinitions"]
    named = {*inputs["artifacts"], *inputs["parameters"]}
    assert named == {each["name"] for each in KUBEFLOW["inputs"]}
    named = {*outputs["artifacts"], *outputs["parameters"]}
    assert named == {each["name"] for each in KUBEFLOW["outputs"]}
