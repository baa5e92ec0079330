"""The text of `/metrics`, checked by Prometheus' own linter."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.families import FAMILIES, Sample
from service.telemetry.metrics import Metrics
from tests.deploy.promtool import promtool
from tests.service.running import served

pytestmark = pytest.mark.promtool


def test_a_service_has_plain_metrics(tmp_path: Path) -> None:
    """After jobs and refusals the linter finds nothing, and all but those of GPUs are there."""
    with served(tmp_path) as service:
        for content in (b"fine", b"refuses", b"crashes"):
            service.convert(content)
        with service.client() as client:
            text = client.get("/metrics").text
    assert promtool("check", "metrics", given=text) == ""
    told = {
        f"{each.name}_total" if each.type == "counter" else each.name
        for each in text_string_to_metric_families(text)
    }
    missing = {family.name for family in FAMILIES} - told
    assert all(name.startswith("convlast_gpu_") for name in missing), missing


def test_every_metric_has_a_plain_name() -> None:
    """The linter finds nothing in the metrics that only some machines have."""
    of_gpus = [each for each in FAMILIES if each.name.startswith("convlast_gpu_")]
    samples = [Sample(family, 1, tuple(family.labels)) for family in of_gpus]
    text = Metrics().exposition(samples).decode()
    assert 'convlast_gpu_up{gpu="gpu"} 1.0' in text
    assert promtool("check", "metrics", given=text) == ""
