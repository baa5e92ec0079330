"""One model costs no other its result: absent, failing, crashed, hanging."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as program
from benchmarks.gpu.measuring import Limits
from benchmarks.gpu.models import Model
from benchmarks.gpu.runs import earlier, gather, in_a_process, result_of
from tests.subjects import CPU

PATCHES = "benchmarks.gpu.models.PatchEmbedding"
SHAPE = (2, 3, 2, 8, 8)
TINY = {"width": 8, "patch": [2, 4, 4]}


def measured(model: Model, folder: Path) -> dict[str, Any]:
    """Measure in no time, on the CPU."""
    return result_of(model, CPU, Limits(race_s=0.0, search_s=0.0), folder)


def test_a_model_is_built_as_a_conversion_does_it(tmp_path: Path) -> None:
    """From a checkpoint, which is removed afterwards; the result is JSON."""
    found = json.loads(json.dumps(measured(Model(PATCHES, SHAPE, TINY), tmp_path)))
    assert (found["architecture"], found["entry"]) == (PATCHES, "forward")
    assert len(found["settings"]) == 4
    assert list(tmp_path.iterdir()) == []


def test_an_absent_package_is_named(tmp_path: Path) -> None:
    """And is no failure."""
    found = measured(Model("pytorchvideo.models.no_such_package.Model", SHAPE), tmp_path)
    assert list(found) == ["absent"]
    assert "pytorchvideo" in found["absent"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model(PATCHES, SHAPE, {"width": -1}), "RuntimeError"),
        (Model(PATCHES, (2, 5, 2, 8, 8), TINY), "channels"),
        (Model("benchmarks.gpu.models.Nothing", SHAPE), "Nothing"),
    ],
)
def test_what_fails_is_a_result(model: Model, words: str, tmp_path: Path) -> None:
    """One that cannot be built, that cannot run, that is not there."""
    found = measured(model, tmp_path)
    assert (found["passed"], found["architecture"]) == (False, model.architecture)
    assert words in found["error"]


@pytest.mark.parametrize(
    ("code", "limit_s", "error"),
    [
        ("import os; os.kill(os.getpid(), 9)", 60.0, "its process ended with -9"),
        ("import time; time.sleep(60)", 2.0, "stopped after 2 s"),
    ],
)
def test_a_process_that_ends_otherwise_is_a_result(code: str, limit_s: float, error: str) -> None:
    """Killed, as for want of memory; or stopped, since it hangs."""
    found = in_a_process("timeit", ["-n1", "-r1", code], limit_s)
    assert found == {"passed": False, "error": error}


def test_the_last_line_is_the_result(tmp_path: Path) -> None:
    """What packages print before it is none."""
    (tmp_path / "result.json").write_text('"loud"\n{"passed": true}\n')
    arguments = ["--json-lines", "--compact", str(tmp_path / "result.json")]
    assert in_a_process("json.tool", arguments, 30.0) == {"passed": True}


def test_the_others_keep_their_results() -> None:
    """Whoever is absent or fails; and all are told of at each step."""
    made: dict[str, dict[str, Any]] = {
        "good": {"passed": True}, "bad": {"passed": False, "error": "no"},
        "gone": {"absent": "not here"}, "last": {"passed": True},
    }  # fmt: skip
    steps: list[int] = []
    whole = gather(made, made.__getitem__, lambda found: steps.append(len(found["results"])))
    assert [each["model"] for each in whole["results"]] == ["good", "bad", "last"]
    assert (whole["absent"], whole["passed"]) == (["gone"], False)
    assert steps == [1, 2, 2, 3]


def test_nothing_measured_is_no_success() -> None:
    """A machine that has no package at all has proven nothing."""
    whole = gather(["gone"], lambda name: {"absent": "not here"}, lambda found: None)
    assert (whole["passed"], whole["absent"]) == (False, ["gone"])


def test_what_was_measured_here_today_is_known(tmp_path: Path) -> None:
    """But not what failed, nor what another machine measured."""
    results = [{"model": "good", "passed": True}, {"model": "bad", "error": "no"}]
    file = tmp_path / "gpu.json"
    assert earlier(file, {"gpu": "A"}) == {}
    file.write_text(json.dumps({"machine": {"gpu": "A"}, "results": results}))
    assert list(earlier(file, {"gpu": "A"})) == ["good"]
    assert earlier(file, {"gpu": "B"}) == {}


def test_the_whole_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object, in the order asked for; only a model that failed is measured once more."""
    file, outcomes, asked = tmp_path / "gpu.json", {"s3d": False, "r3d_18": True}, []
    apart: list[str] = []
    throughput_passes = True

    def in_no_process(module: str, arguments: list[str], limit_s: float) -> dict[str, Any]:
        if module != "benchmarks.gpu":
            apart.append(module.rpartition(".")[2])
            return {"passed": throughput_passes or module != "benchmarks.gpu.throughput"}
        asked.append(arguments[0])
        passed = outcomes[arguments[0]]
        return {"passed": passed} if passed else {"passed": passed, "error": "no"}

    def ran() -> object:
        with pytest.raises(SystemExit) as end:
            program.main()
        printed = json.loads(capsys.readouterr().out)
        assert printed == json.loads(file.read_text())
        assert [each["model"] for each in printed["results"]] == ["s3d", "r3d_18"]
        assert {"torch", "cudnn", "gpu", "driver", "date"} <= set(printed["machine"])
        return end.value.code

    monkeypatch.setattr(program, "in_a_process", in_no_process)
    monkeypatch.setattr(sys, "argv", ["", *outcomes, "--device", "cpu", "--into", str(file)])
    assert (ran(), asked) == (1, ["s3d", "r3d_18"])
    outcomes["s3d"] = True
    assert (ran(), asked) == (0, ["s3d", "r3d_18", "s3d"])
    assert apart == ["weights", "throughput", "parallel"] * 2
    throughput_passes = False
    assert ran() == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is on this machine")
def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And measures nothing."""
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match=r"This measures a GPU\. .* cuda cannot be used"):
        program.main()
