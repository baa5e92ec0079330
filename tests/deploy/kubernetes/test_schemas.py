from __future__ import annotations

import copy

import jsonschema  # type: ignore[import-untyped]  # it has no types
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.deploy.kubernetes.pod_monitor import POD_MONITOR
from tests.deploy.kubernetes.rendering import Rendered

NEWEST = ".".join(kubernetes_validate.latest_version().split(".")[:2])
SUPPORTED = sorted({"1.31", NEWEST})


@pytest.mark.parametrize("version", SUPPORTED)
def test_each_overlay_fits_the_schema(version: str, rendered: Rendered) -> None:
    """The API takes each object, and ignores none of its fields."""
    for each in rendered.manifests:
        if each["kind"] == "PodMonitor":
            jsonschema.validate(each, POD_MONITOR)
        else:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_slip_of_the_pen_is_found(version: str, cpu: Rendered) -> None:
    """Otherwise the test above would prove nothing."""
    deployment = copy.deepcopy(cpu.one("Deployment"))
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(deployment, version, strict=True)


def test_a_slip_of_the_pen_in_the_pod_monitor_is_found(production: Rendered) -> None:
    """Otherwise the operator would scrape every 30 s, or nothing, without a message."""
    monitor = copy.deepcopy(production.one("PodMonitor"))
    monitor["spec"]["podMetricsEndpoints"][0]["targetport"] = 8000
    with pytest.raises(jsonschema.ValidationError, match="targetport"):
        jsonschema.validate(monitor, POD_MONITOR)


def test_each_object_is_in_the_namespace(rendered: Rendered) -> None:
    """It refuses every pod that is not restricted."""
    namespace = rendered.one("Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [each["metadata"] for each in rendered.manifests if each["kind"] != "Namespace"]
    assert {each["namespace"] for each in others} == {namespace["name"]}


def test_each_overlay_has_what_its_name_says(
    cpu: Rendered, gpu: Rendered, production: Rendered
) -> None:
    """Only the last one needs a storage class, and the Prometheus operator."""
    assert cpu.kinds() == gpu.kinds()
    assert production.kinds() - gpu.kinds() == {"PersistentVolumeClaim", "PodMonitor"}
