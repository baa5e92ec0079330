"""The schema of a PodMonitor, which is no part of Kubernetes."""

from __future__ import annotations

from typing import Any

_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}


def _exactly(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


POD_MONITOR = _exactly(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "PodMonitor"},
    metadata=_exactly(
        ["name"], name={"type": "string"}, namespace={"type": "string"}, labels=_LABELS
    ),
    spec=_exactly(
        ["selector", "podMetricsEndpoints"],
        selector=_exactly(["matchLabels"], matchLabels=_LABELS),
        jobLabel={"type": "string"},
        podMetricsEndpoints={
            "type": "array",
            "minItems": 1,
            "items": _exactly(
                ["port", "path"],
                port={"type": "string"},
                path={"type": "string"},
                interval=_DURATION,
                scrapeTimeout=_DURATION,
            ),
        },
    ),
)
"""The fields that ours has, and no others.

Source: https://github.com/prometheus-operator/prometheus-operator/blob/main/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml
"""
