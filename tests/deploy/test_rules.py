"""The alerts of deploy/prometheus-rules.yaml, tried by Prometheus itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.deploy.promtool import promtool

pytestmark = pytest.mark.promtool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus-rules.yaml"
AT = "90m"

NEVER, ALWAYS = "0x100", "1x100"
ONCE = "0x85 1x15"
"""A counter that is raised five minutes before the end."""
OFTEN = "0x85 8x15"
STEADILY = "0+10x100"


@dataclass(frozen=True)
class Case:
    """Two services: the alert fires for one of them.

    Attributes:
        bad: The values of the series of the one, each minute; `@` stands for its labels.
        good: Those of the other.
        labels: Labels that the alert has beside those of the service and its severity.
    """

    bad: Mapping[str, str]
    good: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


def gauge(name: str, bad: str, good: str, **labels: str) -> Case:
    """Return the case of one series."""
    series = name + "{" + "".join(f'{key}="{value}",' for key, value in labels.items()) + "@}"
    return Case({series: bad}, {series: good}, labels)


def nearly_full(taken: str, limit: str, bad: int, good: int, of: int = 100) -> Case:
    """Return the case of a series beside its limit."""
    taken, limit = (name + "{@}" for name in (taken, limit))
    full = f"{of}x100"
    return Case({taken: f"{bad}x100", limit: full}, {taken: f"{good}x100", limit: full})


CASES: Mapping[str, Case] = {
    "ConvlastDown": gauge("up", NEVER, ALWAYS),
    "ConvlastNotReady": Case(
        {"convlast_ready{@}": NEVER, "convlast_draining{@}": NEVER},
        {"convlast_ready{@}": NEVER, "convlast_draining{@}": "0x80 1x20"},
    ),
    "ConvlastDrainsLong": gauge("convlast_draining", "0x70 1x30", "0x80 1x20"),
    "ConvlastRestarts": gauge("process_start_time_seconds", "100x60 200x10 300x10 400x20", "5x99"),
    "ConvlastErrors": Case(
        {
            'convlast_requests_total{status="200",code="none",@}': STEADILY,
            'convlast_requests_total{status="500",code="internal",@}': "0+1x100",
        },
        {
            'convlast_requests_total{status="200",code="none",@}': STEADILY,
            'convlast_requests_total{status="503",code="queue-full",@}': STEADILY,
        },
    ),
    "ConvlastSandboxIncomplete": Case(
        {
            'convlast_sandbox_wall{workers="converters",wall="calls",@}': NEVER,
            'convlast_sandbox_wall{workers="inspectors",wall="calls",@}': ALWAYS,
        },
        {'convlast_sandbox_wall{workers="converters",wall="calls",@}': ALWAYS},
        {"wall": "calls"},
    ),
    "ConvlastWarnings": gauge("convlast_warnings", ALWAYS, "0x60 1x40"),
    "ConvlastWorkersCrash": Case(
        {'convlast_worker_ends_total{cause="crashed",@}': OFTEN},
        {
            'convlast_worker_ends_total{cause="crashed",@}': ONCE,
            'convlast_worker_ends_total{cause="answered",@}': STEADILY,
        },
    ),
    "ConvlastOutOfMemory": Case(
        {
            'convlast_worker_ends_total{cause="out-of-memory",@}': NEVER,
            'convlast_jobs_ended_total{code="out-of-memory",@}': ONCE,
        },
        {
            'convlast_worker_ends_total{cause="out-of-memory",@}': NEVER,
            'convlast_jobs_ended_total{code="out-of-memory",@}': NEVER,
        },
    ),
    "ConvlastJobsTimeOut": Case(
        {'convlast_jobs_ended_total{code="timed-out",@}': ONCE},
        {'convlast_jobs_ended_total{code="timed-out",@}': NEVER},
    ),
    "ConvlastVerificationFails": Case(
        {
            'convlast_jobs_ended_total{verb="convert",verdict="failed",@}': OFTEN,
            'convlast_jobs_ended_total{verb="convert",verdict="passed",@}': OFTEN,
        },
        {
            'convlast_jobs_ended_total{verb="convert",verdict="failed",@}': OFTEN,
            'convlast_jobs_ended_total{verb="convert",verdict="passed",@}': STEADILY,
        },
    ),
    "ConvlastWaitsLong": Case(
        {
            'convlast_stage_seconds_bucket{verb="convert",stage="queue",le="30",@}': NEVER,
            'convlast_stage_seconds_bucket{verb="convert",stage="queue",le="300",@}': STEADILY,
            'convlast_stage_seconds_bucket{verb="convert",stage="queue",le="+Inf",@}': STEADILY,
        },
        {
            'convlast_stage_seconds_bucket{verb="convert",stage="queue",le="30",@}': STEADILY,
            'convlast_stage_seconds_bucket{verb="convert",stage="queue",le="+Inf",@}': STEADILY,
        },
    ),
    "ConvlastRefuses": Case(
        {'convlast_requests_total{code="queue-full",@}': STEADILY},
        {'convlast_requests_total{code="queue-full",@}': ONCE},
    ),
    "ConvlastConnectionsFull": nearly_full(
        "convlast_connections", "convlast_connections_limit", 950, 850, of=1000
    ),
    "ConvlastQuotaFull": nearly_full("convlast_work_bytes", "convlast_work_limit_bytes", 95, 85),
    "ConvlastDiskFull": nearly_full("convlast_disk_free_bytes", "convlast_disk_size_bytes", 5, 15),
    "ConvlastFilesFull": nearly_full("process_open_fds", "process_max_fds", 90, 70),
    "ConvlastDeviceFails": Case(
        {
            'convlast_device_ready{workers="converters",device="cuda:1",@}': NEVER,
            'convlast_device_lanes{workers="converters",device="cuda:1",@}': ALWAYS,
        },
        {
            'convlast_device_ready{workers="converters",device="cuda:1",@}': ALWAYS,
            'convlast_device_lanes{workers="converters",device="cuda:1",@}': ALWAYS,
        },
        {"workers": "converters", "device": "cuda:1"},
    ),
    "ConvlastGpuLost": gauge("convlast_gpu_up", NEVER, ALWAYS, gpu="0"),
    "ConvlastGpuBroken": gauge("convlast_gpu_remap_failed", ALWAYS, NEVER, gpu="0"),
    "ConvlastGpuNeedsReset": gauge("convlast_gpu_remap_pending", ALWAYS, NEVER, gpu="0"),
    "ConvlastGpuHot": gauge("convlast_gpu_temperature_celsius", "91x100", "84x100", gpu="0"),
}


def read() -> Any:
    """Return the file of rules."""
    return yaml.safe_load(RULES.read_text())


def rules() -> dict[str, dict[str, Any]]:
    """Return the alerts, by name."""
    return {rule["alert"]: rule for group in read()["groups"] for rule in group["rules"]}


def series(case: Case) -> list[dict[str, str]]:
    """Return the series of a case as promtool reads them."""
    return [
        {"series": name.replace("@", f'job="convlast",instance="{service}"'), "values": values}
        for service, told in (("bad", case.bad), ("good", case.good))
        for name, values in told.items()
    ]


def trial(alert: str, given: list[dict[str, str]], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a trial of an alert that fires once."""
    expected = {"severity": rules()[alert]["labels"]["severity"], "job": "convlast", **labels}
    return {
        "name": alert,
        "interval": "1m",
        "input_series": given,
        "alert_rule_test": [
            {"eval_time": AT, "alertname": alert, "exp_alerts": [{"exp_labels": expected}]}
        ],
    }


def test_prometheus_reads_the_rules() -> None:
    """Their expressions and templates are valid."""
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES)


def test_each_alert_fires_for_the_service_in_trouble_alone(tmp_path: Path) -> None:
    """Every alert has a case, and fires for the one service and not for the other."""
    assert CASES.keys() == rules().keys()
    trials = [
        trial(alert, series(case), {"instance": "bad", **case.labels})
        for alert, case in CASES.items()
    ]
    trials.append(trial("ConvlastDown", [{"series": "up{job='other'}", "values": ALWAYS}], {}))
    bare = read()  # promtool compares the texts too, which are not what is tried here
    for group in bare["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(bare))
    tests = tmp_path / "tests.yaml"
    tests.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": trials}))
    promtool("test", "rules", tests)
