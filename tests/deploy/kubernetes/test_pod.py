from __future__ import annotations

import re
from typing import Any

from convlast.byte_size import parse
from service.routes import health
from service.settings import Settings
from tests.deploy.kubernetes.rendering import Rendered

AUTOSCALER_WAITS_S = 600
"""How long the cluster autoscaler waits for a pod to end, unless it is told otherwise.

Source: https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
"""


def settings_of(rendered: Rendered) -> Settings:
    """Return the settings that the service reads in the pod."""
    return Settings.from_environment(rendered.environment)


def size(text: Any) -> int:
    """Return a quantity of Kubernetes in bytes."""
    parsed = parse(text)
    assert isinstance(parsed, int)
    return parsed


def test_the_settings_are_those_of_the_service(rendered: Rendered) -> None:
    """The service starts with them: it needs keys, and a whole sandbox."""
    settings = settings_of(rendered)
    assert not settings.allow_anonymous
    assert settings.require_sandbox
    assert rendered.pod["enableServiceLinks"] is False


def test_the_keys_are_where_the_setting_says(rendered: Rendered) -> None:
    """The secret's key `api_keys` becomes the file."""
    (mount,) = (each for each in rendered.container["volumeMounts"] if each["name"] == "keys")
    assert rendered.environment["CONVLAST_API_KEYS_FILE"] == f"{mount['mountPath']}/api_keys"
    assert rendered.volume("keys")["secret"]["secretName"] == "convlast-keys"


def test_the_pod_has_its_walls(rendered: Rendered) -> None:
    """It satisfies the restricted profile of Kubernetes, and its root is read-only."""
    walls = rendered.pod["securityContext"]
    assert walls["runAsNonRoot"] is True
    assert (walls["runAsUser"], walls["runAsGroup"], walls["fsGroup"]) == (10001, 10001, 10001)
    assert walls["seccompProfile"] == {"type": "RuntimeDefault"}
    assert rendered.pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & rendered.pod.keys()
    assert rendered.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_image_is_named_by_digest(rendered: Rendered) -> None:
    """A tag may name another image tomorrow."""
    assert re.fullmatch(r"[a-z0-9./-]+/convlast@sha256:[0-9a-f]{64}", rendered.container["image"])


def test_the_longest_job_ends_before_the_pod_is_killed(rendered: Rendered) -> None:
    """The pause, the drain and the exit fit into the grace period, and a job into the drain."""
    settings = settings_of(rendered)
    pause_s = rendered.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace_s = rendered.pod["terminationGracePeriodSeconds"]
    assert pause_s >= 5
    assert settings.job_timeout_s < settings.drain_timeout_s
    assert pause_s + settings.drain_timeout_s < grace_s <= AUTOSCALER_WAITS_S


def test_a_rollout_waits_for_jobs_and_for_the_start(rendered: Rendered) -> None:
    """It is not called failed while the old pod drains, nor while the new one starts."""
    startup = rendered.container["startupProbe"]
    start_s = startup["periodSeconds"] * startup["failureThreshold"]
    grace_s = rendered.pod["terminationGracePeriodSeconds"]
    assert start_s + grace_s < rendered.one("Deployment")["spec"]["progressDeadlineSeconds"]


def test_the_probes_ask_paths_that_exist(rendered: Rendered) -> None:
    """Only readiness asks for a worker: a restart brings no lost GPU back."""
    paths = {
        name: rendered.container[name]["httpGet"]["path"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert paths == {
        "startupProbe": "/livez",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    assert set(paths.values()) <= {getattr(each, "path", "") for each in health.router.routes}
    port = {rendered.container[name]["httpGet"]["port"] for name in paths}
    assert port == {rendered.container["ports"][0]["name"]}
    assert rendered.container["ports"][0]["containerPort"] == settings_of(rendered).port


def test_the_service_leads_to_the_pod(rendered: Rendered) -> None:
    """It selects the pod's labels, and the container's port by name."""
    service = rendered.one("Service")["spec"]
    assert service["selector"].items() <= rendered.labels.items()
    assert service["ports"][0]["targetPort"] == rendered.container["ports"][0]["name"]
    assert rendered.one("Deployment")["spec"]["selector"]["matchLabels"] == rendered.labels


def test_the_only_pod_may_be_evicted(rendered: Rendered) -> None:
    """A budget that kept it would block the upgrade of its node."""
    budget = rendered.one("PodDisruptionBudget")["spec"]
    assert budget["selector"]["matchLabels"].items() <= rendered.labels.items()
    assert budget["maxUnavailable"] == 1 == rendered.one("Deployment")["spec"]["replicas"]
    assert "minAvailable" not in budget


def test_the_pod_gets_what_it_may_use(rendered: Rendered) -> None:
    """Requests equal limits, so that no other pod takes the memory or the disk away."""
    resources = rendered.container["resources"]
    assert resources["requests"] == resources["limits"]
    assert {"cpu", "memory", "ephemeral-storage"} <= resources["limits"].keys()


def test_uploads_and_the_store_fit_the_volume(rendered: Rendered) -> None:
    """The service refuses an upload before the cluster evicts the pod for its disk."""
    settings = settings_of(rendered)
    kept_bytes = settings.work_bytes + settings.store_bytes
    stored_bytes = size(rendered.container["resources"]["requests"]["ephemeral-storage"])
    work = rendered.volume("work")
    if "persistentVolumeClaim" in work:
        claim = rendered.one("PersistentVolumeClaim", work["persistentVolumeClaim"]["claimName"])
        assert kept_bytes < size(claim["spec"]["resources"]["requests"]["storage"])
        assert "emptyDir" not in work
    else:
        assert kept_bytes < size(work["emptyDir"]["sizeLimit"]) < stored_bytes
    assert stored_bytes >= 1 << 30


def test_only_pods_with_a_gpu_ask_for_one(
    cpu: Rendered, gpu: Rendered, production: Rendered
) -> None:
    """They go to nodes with a GPU, whose taint they tolerate."""
    assert settings_of(cpu).device == "cpu"
    assert "nvidia.com/gpu" not in cpu.container["resources"]["limits"]
    assert not {"nodeSelector", "tolerations"} & cpu.pod.keys()
    for each in (gpu, production):
        assert settings_of(each).device == "cuda"
        assert each.container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert each.pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
        assert each.pod["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]


def test_two_pods_never_share_the_volume(production: Rendered) -> None:
    """Only one service can use a work folder."""
    assert production.one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    claim = production.one("PersistentVolumeClaim", "convlast-work")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
