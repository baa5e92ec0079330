from __future__ import annotations

import re

from tests.deploy.kuberay.cluster import (
    NAME,
    containers_of,
    ray_of,
)
from tests.deploy.kubernetes.rendering import Manifest, Rendered


def test_no_port_of_ray_is_published(kuberay: Rendered, templates: dict[str, Manifest]) -> None:
    """The only Service of the file leads to the service; KubeRay makes one with the head's port."""
    assert not kuberay.kinds() & {"Ingress", "Gateway", "HTTPRoute"}
    services = [each["spec"] for each in kuberay.manifests if each["kind"] == "Service"]
    assert [each["selector"] for each in services] == [{"app.kubernetes.io/name": "convlast"}]
    assert [each["targetPort"] for each in services[0]["ports"]] == ["http"]
    assert "type" not in services[0]
    ports = {
        (kind, port["name"], port["containerPort"])
        for kind, template in templates.items()
        for container in containers_of(template)
        for port in container.get("ports", [])
    }
    assert ports == {("head", "gcs-server", 6379), ("replica", "http", 8000)}


def test_nobody_reaches_a_pod_unless_it_is_said(kuberay: Rendered) -> None:
    """A policy for every pod allows nothing; the others add to it."""
    nobody = kuberay.one("NetworkPolicy", "nobody")["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_members_reach_ray(kuberay: Rendered, templates: dict[str, Manifest]) -> None:
    """Head, workers and replicas are the members, and the ports are those that Ray is given."""
    policy = kuberay.one("NetworkPolicy", NAME)["spec"]
    member = policy["podSelector"]["matchLabels"]
    for template in templates.values():
        assert member.items() <= template["metadata"]["labels"].items()
    (incoming,) = policy["ingress"]
    assert incoming["from"] == [{"podSelector": {"matchLabels": member}}]
    allowed = [range(each["port"], each["endPort"] + 1) for each in incoming["ports"]]
    fixed = {
        int(arg.partition("=")[2])
        for template in templates.values()
        for arg in ray_of(template)["args"]
        if re.match(r"--[a-z-]+-port=", arg)
    }
    assert {6379} | fixed == set(allowed[0])
    assert allowed[1] == range(10002, 20000)
    policies = [each["spec"] for each in kuberay.manifests if each["kind"] == "NetworkPolicy"]
    others = [each for each in policies if each != policy and each.get("ingress")]
    assert [each["podSelector"]["matchLabels"] for each in others] == [
        {"app.kubernetes.io/name": "convlast"}
    ]
    assert others[0]["ingress"][0]["ports"] == [{"port": "http", "protocol": "TCP"}]


def test_a_pod_reaches_the_cluster_names_and_the_store_alone(kuberay: Rendered) -> None:
    """The store is an address that the user sets, and no policy leads anywhere else."""
    outgoing = {
        each["metadata"]["name"]: each["spec"]["egress"]
        for each in kuberay.manifests
        if each["kind"] == "NetworkPolicy" and "egress" in each["spec"]
    }
    assert outgoing.keys() == {NAME, "convlast-store"}
    cluster, names = outgoing[NAME]
    assert cluster["to"] == [{"podSelector": {"matchLabels": {"convlast-ray": "member"}}}]
    assert {each["port"] for each in names["ports"]} == {53}
    (store,) = outgoing["convlast-store"]
    assert store["to"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
