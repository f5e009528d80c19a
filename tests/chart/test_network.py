"""Who reaches whom: policies, services, and what stands in front."""

import pytest

from tests.chart.cases import AUTHENTICATED, GATEWAY, INGRESS, WATCHED
from tests.chart.conftest import Rendered
from tests.chart.manifests import PRODUCTION, TRIAL, Manifest, Manifests


def policy(manifests: Manifests, name: str = "restms") -> Manifest:
    found: Manifest = manifests.one("NetworkPolicy", name)["spec"]
    return found


def test_everybody_may_ask_nodes_for_all_must_say_who_they_are(rendered: Rendered) -> None:
    clients, metrics = policy(rendered(TRIAL))["ingress"]
    assert clients == {"ports": [{"port": "http"}]}
    assert metrics == {"ports": [{"port": "metrics"}], "from": [{"namespaceSelector": {}}]}


def test_where_nobody_is_asked_the_same_namespace_alone_reaches_nodes(rendered: Rendered) -> None:
    manifests = rendered(TRIAL, {"auth": {"insecure": True}})
    clients = policy(manifests)["ingress"][0]
    assert clients["from"] == [{"podSelector": {}}]
    assert "WARNING" in manifests.notes
    others = [{"namespaceSelector": {"matchLabels": {"name": "shop"}}}]
    named = {"auth": {"insecure": True}, "networkPolicy": {"from": others}}
    clients, test, _ = policy(rendered(TRIAL, named))["ingress"]
    assert clients["from"] == others
    assert test["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"


def test_nodes_alone_reach_valkey_and_it_reaches_nobody(rendered: Rendered) -> None:
    manifests = rendered(TRIAL)
    valkey = policy(manifests, "restms-valkey")
    [allowed] = valkey["ingress"]
    [peer] = allowed["from"]
    assert (
        peer["podSelector"]["matchLabels"].items() <= manifests.node["metadata"]["labels"].items()
    )
    assert valkey["policyTypes"] == ["Ingress", "Egress"]
    assert valkey["egress"] == []


def test_nodes_reach_dns_and_valkey_and_what_they_are_told_to(rendered: Rendered) -> None:
    assert policy(rendered(TRIAL))["policyTypes"] == ["Ingress", "Egress"]
    dns, valkey = policy(rendered(TRIAL))["egress"]
    assert [port["port"] for port in dns["ports"]] == [53, 53]
    assert valkey["ports"] == [{"port": 6379}]
    # Where a Redis of somebody's is, stands in a Secret: nothing is closed, until it is said.
    assert policy(rendered(PRODUCTION))["policyTypes"] == ["Ingress"]
    rule = {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 6380}]}
    told = policy(rendered(PRODUCTION, {"networkPolicy": {"egress": [rule]}}))
    assert told["egress"][1:] == [rule]


def test_nothing_is_sticky(rendered: Rendered) -> None:
    for service in ("restms", "restms-nodes"):
        spec = rendered(TRIAL).one("Service", service)["spec"]
        assert spec.get("sessionAffinity", "None") == "None"


def test_prometheus_sees_each_node_also_one_that_drains(rendered: Rendered) -> None:
    manifests = rendered(PRODUCTION, WATCHED)
    nodes = manifests.one("Service", "restms-nodes")["spec"]
    assert nodes["clusterIP"] == "None"
    assert nodes["publishNotReadyAddresses"] is True
    [endpoint] = manifests.one("ServiceMonitor", "restms")["spec"]["endpoints"]
    assert endpoint["relabelings"] == [
        {"action": "replace", "targetLabel": "job", "replacement": "messages/restms"}
    ]
    with_that_port = [
        manifest["metadata"]["name"]
        for manifest in manifests.all
        if manifest["kind"] == "Service"
        and any(port["name"] == endpoint["port"] for port in manifest["spec"]["ports"])
    ]
    assert with_that_port == ["restms-nodes"]
    assert {"name": "metrics", "containerPort": 9090} in manifests.container["ports"]
    assert {"name": "RESTMS_METRICS_BIND", "value": "0.0.0.0:9090"} in manifests.container["env"]


def test_without_metrics_there_is_no_port_for_them(rendered: Rendered) -> None:
    manifests = rendered(TRIAL, {"metrics": {"enabled": False}})
    assert {"name": "RESTMS_METRICS_BIND", "value": "off"} in manifests.container["env"]
    assert [port["name"] for port in manifests.container["ports"]] == ["http"]
    assert len(policy(manifests)["ingress"]) == 1


@pytest.mark.parametrize(("wait", "seconds"), [(55, 75), (110, 130), (0.5, 21), (None, 75)])
def test_an_ingress_waits_longer_than_any_get(
    rendered: Rendered, wait: float | None, seconds: int
) -> None:
    manifests = rendered(TRIAL, INGRESS, {"config": {"wait_seconds": wait}})
    annotations = manifests.one("Ingress", "restms")["metadata"]["annotations"]
    nginx = "nginx.ingress.kubernetes.io"
    assert annotations[f"{nginx}/proxy-read-timeout"] == str(seconds)
    assert annotations[f"{nginx}/proxy-buffering"] == "off"
    assert annotations[f"{nginx}/proxy-request-buffering"] == "off"
    assert annotations[f"{nginx}/proxy-body-size"] == "0"
    assert annotations["haproxy.org/timeout-server"] == f"{seconds}s"


def test_annotations_of_an_ingress_go_before_the_charts(rendered: Rendered) -> None:
    name = "nginx.ingress.kubernetes.io/proxy-read-timeout"
    own = {"ingress": {"annotations": {name: "600", "cert-manager.io/issuer": "ours"}}}
    annotations = rendered(TRIAL, INGRESS, own).one("Ingress", "restms")["metadata"]["annotations"]
    assert annotations[name] == "600"
    assert annotations["cert-manager.io/issuer"] == "ours"


def test_a_gateway_does_not_end_waits_streams_and_uploads(rendered: Rendered) -> None:
    [rule] = rendered(PRODUCTION, GATEWAY).one("HTTPRoute", "restms")["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert rule["backendRefs"] == [{"name": "restms", "port": 80}]


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, None),
        (INGRESS, "https://messages.example"),
        ({"ingress": {"enabled": True, "hosts": ["m.example"]}}, "http://m.example"),
        (GATEWAY, "https://messages.example"),
        ({**INGRESS, "baseUrl": "https://api.example/mq"}, "https://api.example/mq"),
        # A proxy that is trusted tells it with each request.
        ({**INGRESS, "trustedProxies": ["10.0.0.0/8"]}, None),
    ],
)
def test_uris_in_answers_are_those_that_clients_can_use(
    rendered: Rendered, values: Manifest, url: str | None
) -> None:
    toml = rendered(PRODUCTION, AUTHENTICATED, values).toml
    assert (f'base_url = "{url}"' in toml) if url else ("base_url" not in toml)
