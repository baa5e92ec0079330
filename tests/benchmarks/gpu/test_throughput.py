"""Jobs a second of the service, tried on a CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.gpu import throughput
from service.workers.warming import STEPS
from tests.subjects import CPU


def test_the_first_job_is_told_apart_from_the_next(tmp_path: Path) -> None:
    """All are answered, by a real service, whose folder is gone afterwards."""
    found = throughput.measure(CPU, 2, tmp_path)
    assert found["passed"]
    assert len(found["next_s"]["all"]) == 2
    assert found["jobs_per_s"] == 2 / sum(found["next_s"]["all"])
    assert 0 < found["first_s"] < found["ready_s"]
    assert list(tmp_path.iterdir()) == []


def test_the_time_without_a_warm_worker_is_what_the_service_says() -> None:
    """And a refusal is told by its status."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/convert"
        return httpx.Response(503, headers={"Server-Timing": "upload;dur=1.5, queue;dur=2500.0"})

    with httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer)) as client:
        told = throughput.convert(client, b"weights", "model.pt")
    assert (told["status"], told["queue_s"]) == (503, 2.5)


def test_each_step_of_a_warm_up_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the device itself, which is what starts first."""
    monkeypatch.setattr(throughput, "steps_on", lambda device: STEPS)
    seconds = throughput.time_warm_up(CPU)
    assert list(seconds) == ["device", *STEPS]
    assert all(each > 0 for each in seconds.values())


def test_without_the_packages_of_the_service_it_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is no failure: the other benchmarks need PyTorch alone."""
    monkeypatch.setattr(throughput, "NEEDED", ("no_such_package.service",))
    monkeypatch.setattr(sys, "argv", ["throughput", "--device", "cpu"])
    throughput.main()
    told = json.loads(capsys.readouterr().out)
    assert told == {"passed": True, "absent": "No module named 'no_such_package'"}
