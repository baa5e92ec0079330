"""Jobs a second on several GPUs, tried on a CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import parallel, throughput
from benchmarks.gpu.parallel import gather, measure


def test_the_service_converts_for_two_clients_for_each_device(tmp_path: Path) -> None:
    """All jobs are answered, and the folder is gone afterwards."""
    found = measure("cpu", 1, 0.0, tmp_path)
    assert (found["gpus"], found["clients"], found["codes"]) == (1, 2, {"200": 2})
    assert found["answers_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_rates_are_told_in_multiples_of_that_of_one_gpu() -> None:
    """And a refusal means that it did not pass."""
    one = {"gpus": 1, "answers_per_s": 0.5, "codes": {"200": 10}}
    two = {"gpus": 2, "answers_per_s": 0.9, "codes": {"200": 18}}
    whole = gather(2, [one, two])
    assert whole["passed"]
    assert [each["times_one"] for each in whole["results"]] == [1.0, 1.8]
    assert not gather(2, [one, {**two, "codes": {"200": 17, "503": 1}}])["passed"]
    assert gather(1, [{**one, "answers_per_s": 0.0}])["results"][0]["times_one"] is None


def test_without_the_packages_of_the_service_it_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is no failure."""
    monkeypatch.setattr(throughput, "NEEDED", ("no_such_package.service",))
    monkeypatch.setattr(sys, "argv", ["parallel", "--device", "cpu"])
    parallel.main()
    assert json.loads(capsys.readouterr().out)["absent"] == "No module named 'no_such_package'"
