from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.ray_engine.__main__ import arguments
from tests.deploy.kuberay.cluster import (
    NAME,
    containers_of,
    environment_of,
    part_of,
    ray_of,
    settings_of,
)
from tests.deploy.kubernetes.rendering import ROOT, Manifest, Rendered


def test_a_replica_is_as_the_service_elsewhere(kuberay: Rendered, gpu: Rendered) -> None:
    """Walls, probes, pauses and the Service are those of `deploy/kubernetes`."""
    same = ("lifecycle", "startupProbe", "readinessProbe", "livenessProbe", "securityContext")
    assert {each: kuberay.container[each] for each in same} == {
        each: gpu.container[each] for each in same
    }
    for each in ("terminationGracePeriodSeconds", "securityContext", "enableServiceLinks"):
        assert kuberay.pod[each] == gpu.pod[each]
    for kind in ("Service", "PodDisruptionBudget", "Namespace"):
        assert kuberay.one(kind) == gpu.one(kind)
    ingress = [each.one("NetworkPolicy")["spec"]["ingress"] for each in (kuberay, gpu)]
    assert ingress[0] == ingress[1]


@pytest.mark.parametrize("kind", ["head", "worker", "replica"])
def test_every_pod_has_its_walls(kind: str, templates: dict[str, Manifest], gpu: Rendered) -> None:
    """It satisfies the restricted profile of Kubernetes, and its root is read-only."""
    template = templates[kind]
    assert template["spec"]["securityContext"] == gpu.pod["securityContext"]
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & template["spec"].keys()
    for container in containers_of(template):
        assert container["securityContext"] == gpu.container["securityContext"]
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_one_image_is_named_by_digest(templates: dict[str, Manifest]) -> None:
    """Head, nodes and service have to be of the same version."""
    images = {each["image"] for pod in templates.values() for each in containers_of(pod)}
    (image,) = images
    assert re.fullmatch(r"[a-z0-9./-]+/convlast-cluster@sha256:[0-9a-f]{64}", image)


def test_the_version_of_ray_is_the_pinned_one(kuberay: Rendered) -> None:
    """KubeRay decides by it what the cluster can do."""
    version = kuberay.one("RayCluster", NAME)["spec"]["rayVersion"]
    assert f'"ray=={version}"' in (ROOT / "pyproject.toml").read_text()


def test_the_engine_starts_ray(templates: dict[str, Manifest]) -> None:
    """KubeRay's own command would start a dashboard, and send statistics."""
    for kind in ("head", "worker"):
        annotations = templates[kind]["metadata"]["annotations"]
        assert annotations["ray.io/overwrite-container-cmd"] == "true"
    head, worker, replica = (ray_of(each) for each in templates.values())
    given = arguments(settings_of(head), part_of(head))
    assert {"--head", "--port=6379", "--num-cpus=0", "--num-gpus=0"} < set(given)
    assert "--include-dashboard=false" in given
    assert part_of(worker) == part_of(replica) == "node"
    assert settings_of(worker).device == "cuda"
    gpus = worker["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--num-gpus={gpus}" in worker["args"]


def test_a_replica_takes_no_work(templates: dict[str, Manifest]) -> None:
    """The node in its pod has no GPU and no CPU for Ray, and lives longer than the service."""
    node = ray_of(templates["replica"])
    given = arguments(settings_of(node), "node")
    assert "--num-gpus=0" in given
    assert "--num-cpus=0" in node["args"]
    assert node["restartPolicy"] == "Always"
    assert node in templates["replica"]["spec"]["initContainers"]


def test_every_part_knows_the_head_and_the_token(templates: dict[str, Manifest]) -> None:
    """KubeRay names the head's Service and the secret after the cluster.

    Source: https://github.com/ray-project/kuberay/blob/v1.7.0/ray-operator/controllers/ray/utils/util.go
    """
    for template in templates.values():
        for container in containers_of(template):
            settings = settings_of(container)
            assert settings.ray_address == f"{NAME}-head-svc:6379"
            (mount,) = (each for each in container["volumeMounts"] if each["name"] == "token")
            assert str(settings.ray_token_file) == mount["mountPath"]
            assert mount["subPath"] == "auth_token"
        (volume,) = (each for each in template["spec"]["volumes"] if each["name"] == "token")
        assert volume["secret"] == {"secretName": NAME, "defaultMode": 0o440}


def test_only_who_may_reach_the_store_has_its_credentials(templates: dict[str, Manifest]) -> None:
    """These are the slots and the service: not the head, and not the node beside the service."""
    having = {
        (kind, container["name"])
        for kind, template in templates.items()
        for container in containers_of(template)
        if "envFrom" in container
    }
    assert having == {("worker", "ray"), ("replica", "convlast")}
    reaching = {
        kind
        for kind, template in templates.items()
        if template["metadata"]["labels"].get("convlast-store") == "client"
    }
    assert reaching == {"worker", "replica"}


def test_the_service_uses_the_cluster(kuberay: Rendered) -> None:
    """It has keys, a whole sandbox and a slot on each GPU."""
    settings = settings_of(kuberay.container)
    assert settings.engine == "ray"
    assert settings.device == "cuda"
    assert settings.require_sandbox
    assert not settings.allow_anonymous
    (mount,) = (each for each in kuberay.container["volumeMounts"] if each["name"] == "keys")
    assert str(settings.api_keys_file) == f"{mount['mountPath']}/api_keys"


def test_a_rollout_keeps_a_replica(kuberay: Rendered) -> None:
    """One may be evicted, and an update starts the next one first."""
    deployment = kuberay.one("Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (spread,) = kuberay.pod["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    budget = kuberay.one("PodDisruptionBudget", "convlast")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == {"app.kubernetes.io/name": "convlast"}


def test_one_pod_of_the_cluster_may_be_evicted(kuberay: Rendered) -> None:
    """The budget counts by itself: a RayCluster has no `scale` that Kubernetes could ask.

    Source: https://github.com/ray-project/kuberay/issues/2662
    """
    groups = kuberay.one("RayCluster", NAME)["spec"]["workerGroupSpecs"]
    pods = 1 + sum(group["replicas"] for group in groups)
    budget = kuberay.one("PodDisruptionBudget", NAME)["spec"]
    assert budget["minAvailable"] == pods - 1
    assert "maxUnavailable" not in budget
    assert budget["selector"]["matchLabels"] == {"app.kubernetes.io/name": NAME}


@pytest.mark.parametrize("kind", ["head", "worker", "replica"])
def test_ray_finds_room_for_its_files(kind: str, templates: dict[str, Manifest]) -> None:
    """Its temporary folder and its shared memory are volumes that the containers share."""
    temporary = environment_of(ray_of(templates[kind]))["TMPDIR"]
    for container in containers_of(templates[kind]):
        mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert (mounts["tmp"], Path(mounts["shm"])) == (temporary, Path("/dev", "shm"))


def test_the_workers_ask_for_gpus(templates: dict[str, Manifest], gpu: Rendered) -> None:
    """They go where the service with a GPU goes."""
    pod = templates["worker"]["spec"]
    assert pod["nodeSelector"] == gpu.pod["nodeSelector"]
    assert pod["tolerations"] == gpu.pod["tolerations"]
    for kind in ("head", "replica"):
        assert "nvidia.com/gpu" not in str(templates[kind])


def test_the_probes_ask_what_listens(templates: dict[str, Manifest]) -> None:
    """KubeRay's own ask the dashboard, which is off."""
    for kind, port in {"head": 6379, "worker": 6380}.items():
        container = ray_of(templates[kind])
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["tcpSocket"] == {"port": port}
    assert ray_of(templates["replica"])["startupProbe"]["tcpSocket"] == {"port": 6380}
