"""The kit for a GPU machine, rehearsed on the CPU: what moves breaks it here, and not there."""

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

from scripts.gpu.bench import command
from scripts.gpu.device import Device
from scripts.gpu.jobs import jobs
from scripts.gpu.sanity.__main__ import sections_of
from scripts.gpu.walls.actions import ACTIONS
from scripts.gpu.walls.worker import END, WARM_UP

ROOT = Path(__file__).parents[3]
RUN = ROOT / "scripts" / "gpu" / "run.sh"
STAGES = ("sanity", "walls", "strace", "service", "bench")
"""All but the tests, which need a GPU."""

Finding = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results of one run, with nothing of what prepare.sh makes."""
    out, kit = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("kit")
    asked = {"DEVICE": "cpu", "STAGES": " ".join(STAGES), "PYTHON": sys.executable}
    places = {"OUT": str(out), "KIT": str(kit), "OMP_WAIT_POLICY": "PASSIVE"}
    environment = {**os.environ, **asked, **places}
    subprocess.run(["bash", RUN], env=environment, check=True, capture_output=True)
    return out


def findings_in(file: Path) -> list[Finding]:
    """Read a file of findings; none of them is an error, and nothing was left out for time."""
    found: list[Finding] = [json.loads(line) for line in file.read_text().splitlines()]
    assert not [line for line in found if "error" in set(_keys(line))]
    assert not [line for line in found if isinstance(line["found"], str)]
    return found


def _keys(value: object) -> Iterator[str]:
    """Yield the keys of all objects within a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from value
    for each in inner:
        yield from _keys(each)


def test_every_section_of_sanity_is_looked_at(results: Path) -> None:
    """In the order of their worth."""
    found = [each["section"] for each in findings_in(results / "sanity.jsonl")]
    assert found == ["environment", *sections_of(Device(is_gpu=False)), "end"]


def test_everything_is_done_behind_the_walls(results: Path) -> None:
    """By a worker that was warmed up; three others warm up alone."""
    found = findings_in(results / "walls.jsonl")
    done = [each["found"]["action"] for each in found]
    assert done == [*3 * [WARM_UP, END], WARM_UP, *ACTIONS, END]
    (warm, *_) = [each["found"]["value"] for each in found if each["found"]["action"] == WARM_UP]
    assert warm["warm_s"] > 0
    assert {"files", "calls"} <= set(warm["walls"])


def test_what_the_walls_refuse_is_told(results: Path) -> None:
    """Where there is a program that sees it."""
    told = (results / "refused.txt").read_text()
    assert told.startswith("== refused" if shutil.which("strace") else "no strace")


def test_the_service_converts_its_files(results: Path, tmp_path: Path) -> None:
    """All that are there; the others are named. It is ready before and after."""
    found = findings_in(results / "service.jsonl")
    given = [f"convert {job.file.name}" for job in jobs(tmp_path, tmp_path, rehearse=True)]
    named = [each["section"] for each in found if each["section"].startswith("convert ")]
    assert named == given
    answers = [each["found"] for each in found if each["section"] in given]
    answers = [answer for answer in answers if "absent" not in answer]
    assert {answer["status"] for answer in answers} == {200}
    assert {answer["file"] for answer in answers} >= {"module.pt", "state_dict.pt"}
    assert (found[0]["section"], found[-1]["section"]) == ("ready", "ready in the end")


@pytest.mark.parametrize("asked", ["smoke=none", "default options"])
def test_the_service_has_a_rate_of_small_jobs(results: Path, asked: str) -> None:
    """The first job, which may be slower, is told apart."""
    found = findings_in(results / "service.jsonl")
    (rate,) = [each["found"] for each in found if each["section"] == f"small jobs, {asked}"]
    assert len(rate["steady_s"]) == 2
    assert rate["jobs_per_s"] > 0
    assert rate["first_s"] > 0
    assert 5000 < rate["file_bytes"] < 7000


def test_the_benchmark_measures_a_model(results: Path) -> None:
    """A tiny one, in all settings, and weights; all is summed up in the log."""
    found = json.loads((results / "gpu.json").read_text())
    (model,) = found["results"]
    assert len(model["settings"]) == 4
    assert found["weights"]["passed"]
    log = (results / "log.txt").read_text()
    assert re.search(r"^tiny: contiguous \d", log, re.MULTILINE)
    assert re.search(r"^weights, tiny: pinned ", log, re.MULTILINE)


def test_every_stage_ends_well(results: Path) -> None:
    """And there are no more files than come back from a machine."""
    log = (results / "log.txt").read_text()
    ends = dict(re.findall(r"^== (\w+): ended with (\d+)", log, re.MULTILINE))
    ran = [stage for stage in STAGES if stage != "strace" or shutil.which("strace")]
    assert ends == dict.fromkeys(ran, "0")
    assert len(list(results.iterdir())) <= 8


def test_the_tests_that_are_run_there_exist() -> None:
    """Each file that the stage names has tests that need a GPU."""
    named = re.findall(r"tests/\S+\.py", RUN.read_text())
    assert len(named) >= 5
    assert all("gpu" in (ROOT / name).read_text() for name in named)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is on this machine")
def test_the_benchmark_takes_what_it_is_told(tmp_path: Path) -> None:
    """Every option of its, and every model that run.sh names; only the GPU is missing."""
    (models,) = re.findall(r"MODELS:-(.*)}", RUN.read_text())
    told = command(models.split(), tmp_path / "gpu.json")
    done = subprocess.run(told, cwd=ROOT, check=False, capture_output=True, text=True)
    assert "This measures a GPU" in done.stderr
