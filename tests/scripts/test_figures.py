"""The figures of the README, with results of a GPU and without."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.measuring import Limits
from benchmarks.gpu.models import Model
from benchmarks.gpu.runs import gather, result_of
from benchmarks.gpu.weights import measure
from benchmarks.machine import describe, describe_gpu
from scripts import figures
from scripts.gpu_figures import NOT_MEASURED
from tests.subjects import CPU

MODEL = Model(
    "benchmarks.gpu.models.PatchEmbedding", (2, 3, 2, 8, 8), {"width": 8, "patch": [2, 4, 4]}
)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the results, without those of a GPU."""
    folder = shutil.copytree(figures.RESULTS, tmp_path / "results")
    (folder / "gpu.json").unlink(missing_ok=True)
    monkeypatch.setattr(figures, "RESULTS", folder)
    return folder


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """What the benchmark gives: a model, one that failed, one that is absent, and the weights."""
    made = {
        "patches": result_of(MODEL, CPU, Limits(race_s=0.0, search_s=0.0), None),
        "broken": {"passed": False, "error": "RuntimeError: a | b"},
        "gone": {"absent": "not here"},
    }
    machine = {**describe(), **describe_gpu(CPU), "gpu": "Some GPU"}
    weights = measure(CPU, 1, {"tiny": (3, (4, 3, 2, 2, 2))})
    throughput = {
        "passed": True, "ready_s": 9.0, "first_s": 0.4, "next_s": {"median": 3.5, "all": [3.5]},
        "queue_s": 3.1, "jobs_per_s": 0.28, "warm_up_s": {"device": 1.25, "profiler": 0.5},
    }  # fmt: skip
    found = gather(made, made.__getitem__, lambda so_far: None)
    whole: dict[str, Any] = json.loads(
        json.dumps({"machine": machine, "weights": weights, "throughput": throughput, **found})
    )
    return whole


def test_a_tiny_request_with_the_default_options_has_a_row(results: Path) -> None:
    """Once it was measured; results from before have none, and are told as they were."""
    file = results / "serving.json"
    serving = json.loads(file.read_text())
    serving.pop("tiny", None)
    file.write_text(json.dumps(serving))
    assert "the same with `smoke=none`" not in figures.figures()
    seconds = {"default": {"median": 0.15}, "smoke=none": {"median": 0.03}}
    file.write_text(json.dumps({**serving, "tiny": {"bytes": 5434, "seconds": seconds}}))
    row = (
        "| `POST /convert`, 5 kB, default options | 0.15 s | the same with `smoke=none` | 0.03 s |"
    )
    assert f"{row} 5.00 times |" in figures.figures()


def test_without_a_gpu_it_says_plainly_that_none_was_measured(results: Path) -> None:
    """Instead of a table."""
    assert NOT_MEASURED in figures.figures()
    assert "select=fastest" not in figures.figures()


def test_with_a_gpu_there_are_tables_and_a_plot(results: Path, whole: dict[str, Any]) -> None:
    """Of what was measured, with what failed and what was absent; every row has all its cells."""
    (results / "gpu.json").write_text(json.dumps(whole))
    text = figures.figures()
    assert NOT_MEASURED not in text
    assert 'x-axis ["patches"]' in text
    assert "failed: RuntimeError: a / b" in text
    assert "Left out, since not installed: gone." in text
    assert "on Some GPU" in text
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({row.count("|") for row in table.strip().splitlines()}) == 1, table


def test_what_fastest_chose_and_whether_it_paid_is_told(
    results: Path, whole: dict[str, Any]
) -> None:
    """A model whose choice was slower is named."""
    model = {**whole["results"][0], "passed": False}
    (results / "gpu.json").write_text(json.dumps({**whole, "results": [model]}))
    text = figures.figures()
    assert "in 0 of 1 models, and not so in patches." in text
    assert f"patches {len(model['choice']['layers'])} of 1." in text


def test_jobs_a_second_are_told_where_the_service_could_be_started(
    results: Path, whole: dict[str, Any]
) -> None:
    """With the first one apart, and what a warm-up is made of."""
    (results / "gpu.json").write_text(json.dumps(whole))
    text = figures.figures()
    assert "| jobs a second | 0.28 |" in text
    assert "| first job, by a worker that is warm | 0.40 s |" in text
    assert "step by step: device 1.25 s, profiler 0.50 s." in text
    absent = {**whole, "throughput": {"passed": True, "absent": "No module named 'fastapi'"}}
    (results / "gpu.json").write_text(json.dumps(absent))
    assert "jobs a second" not in figures.figures()


def test_jobs_a_second_on_several_gpus_have_a_table(results: Path, whole: dict[str, Any]) -> None:
    """Once they were measured."""
    one = {"gpus": 1, "clients": 2, "answers_per_s": 0.5, "times_one": 1.0}
    two = {"gpus": 2, "clients": 4, "answers_per_s": 0.95, "times_one": 1.9}
    (results / "gpu.json").write_text(json.dumps({**whole, "parallel": {"results": [one, two]}}))
    assert "| 2 | 4 | 0.95 | 1.90 |" in figures.figures()
    for absent in ({"passed": True, "absent": "fastapi"}, {"passed": False, "error": "stopped"}):
        (results / "gpu.json").write_text(json.dumps({**whole, "parallel": absent}))
        assert "times one GPU" not in figures.figures()


def test_only_failures_are_told_as_well(results: Path, whole: dict[str, Any]) -> None:
    """There is nothing to draw then."""
    broken = [each for each in whole["results"] if "error" in each]
    changed = {**whole, "results": broken, "weights": {"passed": False, "error": "no"}}
    (results / "gpu.json").write_text(json.dumps(changed))
    assert "Times as fast" not in figures.figures()
    assert "| broken | failed: " in figures.figures()


def case(clients: int, workers: int | None = None) -> dict[str, Any]:
    """One row of the benchmark of requests."""
    convlast, naive = {"answers_per_s": 44.44, "median_s": 0.1801}, {"answers_per_s": 111.11}
    kind = {"file": "6 kB", "options": "default", "workers": workers, "clients": clients}
    return {**kind, "convlast": convlast, "tuned": naive, "share_of_tuned": 0.4}


def test_requests_stand_beside_those_of_the_naive_service(results: Path) -> None:
    """In the README for eight clients, and in the page of figures for all."""
    result = {"results": [case(1), case(8)], "machine": describe()}
    (results / "requests.json").write_text(json.dumps(result))
    rates = "44.4 | 111.1 | 0.40 |"
    assert figures.headline().count(rates) == 1
    assert f"| `POST /convert`, 6 kB, default options | {rates}" in figures.headline()
    assert f"| 6 kB, default options | 8 | {rates} 0.18 s |" in figures.figures()


def test_what_was_not_measured_yet_has_no_table(results: Path) -> None:
    """By workers, fairness, idle memory and jobs have one once they were measured."""
    names = ("requests-workers", "fairness", "idle", "kills", "cancel", "followers")
    for name in names:
        (results / f"{name}.json").unlink(missing_ok=True)
    before = figures.figures()
    waited = {"workers": 2, "long_s": 2.0, "worst_wait_s": 1.0, "long_jobs_waited": 0.5}
    mib = {"all": 1300.4, "service": 60.0, "fork_server": 600.0, "workers": 640.4}
    made: dict[str, dict[str, Any]] = {
        "requests-workers": {"results": [case(8, workers=4)]},
        "fairness": {"results": [waited], "long_jobs": 16},
        "idle": {"results": [{"warm_workers": 2, "mib": mib}]},
        "kills": {
            "jobs": 198,
            "harm": {"workers killed": 7},
            "begun_more_than_once": 12,
            "outcomes": {"quick: succeeded": 100, "sleeping: succeeded": 97, "quick: lost": 1},
            "wrong": ["one"],
        },
        "cancel": {"tries": 100, "median_s": 0.0312, "p99_s": 0.1, "longest_s": 0.1234},
        "followers": {
            "open_at_once": 500,
            "told": {"succeeded": 499},
            "livez": {"p99_s": 0.0123},
            "resident_mib": {"idle": 60.2, "peak": 79.4},
        },
    }
    for name, result in made.items():
        (results / f"{name}.json").write_text(json.dumps({**result, "machine": describe()}))
    text = figures.figures()
    rows = (
        "| 6 kB, default options | 4 | 8 | 44.4 | 111.1 | 0.40 | 0.18 s |",
        "| 2 | 2.00 s | 1.00 s | 0.50 |",
        "| 2 | 1,300 MiB | 60 MiB | 600 MiB | 640 MiB |",
        "| ended as succeeded | 197 |",
        "| lost, with two results, or left behind | 1 |",
        "| 100 | 0.031 s | 0.100 s | 0.123 s |",
        "| 500 | 499 | 12 ms | 60 MiB | 79 MiB |",
    )
    assert all(row in text and row not in before for row in rows)
    assert "Measured by `benchmarks/requests.py`" in text
    assert "Measured by `benchmarks/jobs/kills.py`" in text
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        assert len({row.count("|") for row in table.strip().splitlines()}) == 1, table
