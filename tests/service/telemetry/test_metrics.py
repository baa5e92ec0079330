"""What is counted of jobs and devices, without a service."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from service.jobs.records import Outcome
from service.sandbox.wall import Wall
from service.telemetry.families import FAMILIES
from service.telemetry.metrics import Metrics, of_build, of_readiness
from service.telemetry.readiness import Readiness
from service.workers import Health, LaneHealth


def outcome(**members: Any) -> Outcome:
    """Return the outcome of a job."""
    return Outcome(**{"state": "succeeded", "finished_at": 0.0, **members})


def read(metrics: Metrics, readiness: Readiness | None = None) -> dict[str, float]:
    """Return the value of each time series, by its name with its labels."""
    samples = [] if readiness is None else [*of_readiness(readiness)]
    text = metrics.exposition(samples).decode()
    rows = (row.rpartition(" ") for row in text.splitlines() if not row.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def test_families_have_plain_names_and_one_sentence_at_least() -> None:
    """Each name is used once, ends in its unit, and has a meaning."""
    names = [each.name for each in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert re.fullmatch(r"convlast_[a-z_]+", family.name)
        assert family.meaning.endswith(".")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert (family.kind == "histogram") == bool(family.buckets)


def test_a_job_that_failed_is_counted_with_its_stages() -> None:
    """Its code, verdict and stages are there, and the whole is no stage."""
    metrics = Metrics()
    seconds = {"upload": 1.0, "queue": 2.0, "convert": 30.0, "read": 10.0, "smoke": 20.0}
    problem = {"code": "timed-out"}
    metrics.ended("convert", outcome(state="failed", problem=problem, seconds=seconds))
    told = read(metrics)
    ended = (
        'convlast_jobs_ended_total{code="timed-out",state="failed",verb="convert",verdict="none"}'
    )
    assert told[ended] == 1
    assert told['convlast_job_duration_seconds_sum{state="failed",verb="convert"}'] == 30
    assert told['convlast_stage_seconds_sum{stage="smoke",verb="convert"}'] == 20
    stages = {name for name in told if name.startswith("convlast_stage_seconds_sum")}
    assert len(stages) == 4
    assert not any('stage="convert"' in name for name in stages)


def test_verbs_and_verdicts_are_told_apart() -> None:
    """An inspection is not a conversion, and a verdict is counted."""
    metrics = Metrics()
    metrics.ended("inspect", outcome(verdict="passed_with_findings", seconds={"convert": 1.0}))
    told = read(metrics)
    ended = 'convlast_jobs_ended_total{{code="none",state="succeeded",verb="{}",verdict="{}"}}'
    assert told[ended.format("inspect", "passed_with_findings")] == 1
    assert told[ended.format("convert", "passed_with_findings")] == 0
    assert 'convlast_job_duration_seconds_sum{state="succeeded",verb="convert"}' not in told


def test_a_cancelled_job_has_no_problem_code() -> None:
    """The problem that its clients get is not the service's."""
    metrics = Metrics()
    metrics.ended("convert", outcome(state="cancelled", problem={"code": "gone"}))
    name = 'convlast_jobs_ended_total{code="none",state="cancelled",verb="convert",verdict="none"}'
    assert read(metrics)[name] == 1


def test_there_is_no_series_of_creation_times() -> None:
    """Counters and histograms have no `_created`, and no family comes twice."""
    metrics = Metrics()
    metrics.ended("convert", outcome(seconds={"convert": 1.0}))
    metrics.refused("queue-full", 503)
    text = metrics.exposition([of_build("abc123")]).decode()
    assert "_created" not in text
    found = [family.name for family in text_string_to_metric_families(text)]
    assert len(found) == len(set(found))
    assert 'revision="abc123"' in text
    assert "process_resident_memory_bytes" in text


def test_lanes_of_one_device_are_added_up() -> None:
    """Two lanes on the CPU are one device, and each wall is there."""
    lane = LaneHealth(
        device="cpu", ready=True, busy=False, jobs=2, worker_starts=3, worker_ends={"crashed": 1}
    )
    walls = [
        Wall(name="calls", held=True, detail="Forbids."),
        Wall(name="files", held=False, detail="Is missing."),
    ]
    health = Health(ready=True, busy=False, lanes=[lane, lane], walls=walls)
    readiness = Readiness(health, Health(ready=False, busy=False), None, None, is_draining=True)
    told = read(Metrics(), readiness)
    of_cpu = '{device="cpu",workers="converters"}'
    assert told[f"convlast_device_lanes{of_cpu}"] == 2
    assert told[f"convlast_worker_starts_total{of_cpu}"] == 6
    ends = 'convlast_worker_ends_total{{cause="{}",device="cpu",workers="converters"}}'
    assert (told[ends.format("crashed")], told[ends.format("no-probe")]) == (2, 0)
    walls_told = 'convlast_sandbox_wall{{wall="{}",workers="converters"}}'
    assert (told[walls_told.format("calls")], told[walls_told.format("files")]) == (1, 0)
    assert (told["convlast_ready"], told["convlast_draining"]) == (0, 1)
    assert told['convlast_part_ready{part="inspectors"}'] == 0
    assert told['convlast_part_ready{part="storage"}'] == 1
