from __future__ import annotations

from service.routes import health
from tests.deploy.kubernetes.rendering import Rendered


def test_only_named_pods_reach_the_service(rendered: Rendered) -> None:
    """Each source is named by the labels of its pods."""
    policies = [each["spec"] for each in rendered.manifests if each["kind"] == "NetworkPolicy"]
    assert policies
    for each in policies:
        assert each["podSelector"]["matchLabels"].items() <= rendered.labels.items()
        for rule in each["ingress"]:
            assert rule["from"]
            assert all(source["podSelector"]["matchLabels"] for source in rule["from"])
            assert rule["ports"] == [
                {"port": rendered.container["ports"][0]["name"], "protocol": "TCP"}
            ]


def test_the_pod_reaches_nobody(rendered: Rendered) -> None:
    """It may open no connection: not even a name is looked up."""
    policy = rendered.one("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []
    others = [each["spec"] for each in rendered.manifests if each["kind"] == "NetworkPolicy"]
    assert not any(each.get("egress") for each in others)  # policies add up


def test_clients_in_other_namespaces_need_two_labels(rendered: Rendered) -> None:
    """One is on the pod, the other on its namespace."""
    here, elsewhere = rendered.one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    client = {"matchLabels": {"convlast-client": "true"}}
    assert here == {"podSelector": client}
    assert elsewhere == {
        "podSelector": client,
        "namespaceSelector": {"matchLabels": {"convlast-clients": "true"}},
    }


def test_prometheus_scrapes_the_metrics(production: Rendered, gpu: Rendered) -> None:
    """The monitor finds the pod and its port, and the network lets Prometheus in."""
    monitor = production.one("PodMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= production.labels.items()
    assert monitor["jobLabel"] in production.labels
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] == production.container["ports"][0]["name"]
    assert endpoint["path"] in {getattr(each, "path", "") for each in health.router.routes}
    (rule,) = production.one("NetworkPolicy", "convlast-metrics")["spec"]["ingress"]
    (source,) = rule["from"]
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    assert "PodMonitor" not in gpu.kinds()
