from __future__ import annotations

import copy
import re

import jsonschema  # type: ignore[import-untyped]  # it has no types
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.deploy.kuberay.cluster import (
    FILE,
    NAME,
)
from tests.deploy.kuberay.schema import RAY_CLUSTER
from tests.deploy.kubernetes.rendering import Manifest, Rendered
from tests.deploy.kubernetes.test_schemas import SUPPORTED


@pytest.mark.parametrize("version", SUPPORTED)
def test_each_object_fits_its_schema(
    version: str, kuberay: Rendered, templates: dict[str, Manifest]
) -> None:
    """The API takes each object, and ignores none of its fields; so it does with Ray's pods."""
    for each in kuberay.manifests:
        if each["kind"] == "RayCluster":
            jsonschema.validate(each, RAY_CLUSTER)
        else:
            kubernetes_validate.validate(each, version, strict=True)
    for template in templates.values():
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        kubernetes_validate.validate(pod, version, strict=True)


def test_a_slip_of_the_pen_is_found(kuberay: Rendered) -> None:
    """Otherwise KubeRay would start a cluster without a token."""
    cluster = copy.deepcopy(kuberay.one("RayCluster", NAME))
    cluster["spec"]["authOption"] = cluster["spec"].pop("authOptions")
    with pytest.raises(jsonschema.ValidationError, match="authOption"):
        jsonschema.validate(cluster, RAY_CLUSTER)


def test_each_object_is_in_the_namespace(kuberay: Rendered) -> None:
    """It refuses every pod that is not restricted."""
    namespace = kuberay.one("Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [each["metadata"] for each in kuberay.manifests if each["kind"] != "Namespace"]
    assert {each["namespace"] for each in others} == {namespace["name"]}


def test_no_secret_is_in_the_file(kuberay: Rendered) -> None:
    """The user makes two, and KubeRay the third; only who needs the store's has them."""
    assert "Secret" not in kuberay.kinds()
    named = set(re.findall(r"(?:secretName|secretRef: {name): ([\w-]+)", FILE.read_text()))
    assert named == {"convlast-keys", "convlast-store", NAME}
