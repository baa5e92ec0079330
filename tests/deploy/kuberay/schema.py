"""The schema of a RayCluster, which is no part of Kubernetes."""

from __future__ import annotations

from typing import Any

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_NUMBER = {"type": "integer", "minimum": 0}


def _exactly(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


RAY_CLUSTER = _exactly(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=_exactly(name={"type": "string"}, namespace={"type": "string"}, labels=_TEXTS),
    spec=_exactly(
        rayVersion={"type": "string"},
        authOptions=_exactly(mode={"enum": ["disabled", "token"]}),
        headGroupSpec=_exactly(rayStartParams=_TEXTS, template={"type": "object"}),
        workerGroupSpecs={
            "type": "array",
            "minItems": 1,
            "items": _exactly(
                groupName={"type": "string"},
                replicas=_NUMBER,
                minReplicas=_NUMBER,
                maxReplicas=_NUMBER,
                rayStartParams=_TEXTS,
                template={"type": "object"},
            ),
        },
    ),
)
"""The fields that ours has, and no others; a template is that of a pod.

Source: https://github.com/ray-project/kuberay/blob/v1.7.0/ray-operator/config/crd/bases/ray.io_rayclusters.yaml
"""
