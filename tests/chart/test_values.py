"""Values that cannot be meant are refused, each with a sentence that names it."""

import json
from typing import Any

import pytest
from helm_python.chart import Chart

from tests.chart.cases import AUTHENTICATED
from tests.chart.conftest import Rendered
from tests.chart.manifests import PRODUCTION, TRIAL, Manifest, RefusedError


def nested(path: str, value: Any) -> Manifest:
    """Return values of which one is given: its path's parts are divided by dots."""
    for name in reversed(path.split(".")):
        value = {name: value}
    result: Manifest = value
    return result


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Name a Secret with the URL of your Redis in redis.existingSecret"),
        ({**TRIAL, **PRODUCTION}, "either redis.existingSecret or valkey.enabled, not both"),
        (
            {**PRODUCTION, **AUTHENTICATED, "auth": {"insecure": True}},
            "auth.insecure is for nodes without config.authenticator",
        ),
        (
            {
                **TRIAL,
                "auth": {"insecure": True},
                "config": {
                    "rule": [{"group": "a", "verbs": ["publish"], "domain": "*", "feed": "*"}]
                },
            },
            "config.rule needs to know who comes in",
        ),
        (
            {**TRIAL, "auth": {"existingSecret": "our-users"}},
            "auth.existingSecret has files that config.authenticator must name",
        ),
        ({**TRIAL, "config": {"durability": "disk+replicas"}}, "Valkey has no replicas"),
        (
            {
                **TRIAL,
                "config": {
                    "domain": [{"name": "d", "feed": [{"name": "f", "durability": "replicas"}]}]
                },
            },
            "Valkey has no replicas",
        ),
        ({**TRIAL, "ingress": {"enabled": True}}, "a name in ingress.hosts"),
        ({**TRIAL, "httpRoute": {"enabled": True}}, "needs httpRoute.hostnames"),
        ({**TRIAL, "ingress": {"enabled": True, "hosts": ["*.example"]}}, "give baseUrl"),
        (
            {**TRIAL, "autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}},
            "must not be more than",
        ),
        (
            {**TRIAL, "autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0}},
            "needs a target",
        ),
        (
            {**TRIAL, "metrics": {"enabled": False, "serviceMonitor": {"enabled": True}}},
            "needs metrics.enabled",
        ),
    ],
)
def test_what_does_not_go_together_is_told_in_one_sentence(
    rendered: Rendered, values: Manifest, sentence: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        rendered(values)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value).strip()


def sections(chart: Chart) -> list[str]:
    """The paths of all maps in which only known names may stand."""
    found = [""]

    def look(schema: Manifest, path: str) -> None:
        for name, inner in schema.get("properties", {}).items():
            if inner.get("additionalProperties") is False:
                found.append(f"{path}{name}.")
            look(inner, f"{path}{name}.")

    look(chart.schema or {}, "")
    return found


def test_an_unknown_name_is_refused_wherever_it_stands(rendered: Rendered, chart: Chart) -> None:
    places = sections(chart)
    assert {"", "valkey.persistence.", "config.", "metrics.serviceMonitor."} <= set(places)
    for place in places:
        with pytest.raises(RefusedError, match="'typo' not allowed"):
            rendered(PRODUCTION, nested(f"{place}typo", 1))


def test_every_map_is_closed_or_free_on_purpose(chart: Chart) -> None:
    """Else a misspelt name would be taken, and nothing come of it."""
    free = {"global", "map"}

    def look(schema: Any, name: str) -> None:
        if isinstance(schema, list):
            for inner in schema:
                look(inner, name)
        elif isinstance(schema, dict):
            if schema.get("type") == "object" and name not in free:
                closed = "additionalProperties" in schema or "oneOf" in schema
                assert closed or name in ("items", "valueFrom"), name
            for key, inner in schema.items():
                look(inner, key if key not in ("properties", "oneOf", "allOf") else name)

    look(chart.schema, "values")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicaCount", -1),
        ("replicaCount", "two"),
        ("image.digest", "sha256:abc"),
        ("image.pullPolicy", "Sometimes"),
        ("redis.existingSecret", "Not A Name"),
        ("redis.url", "redis://:password@redis.example"),
        ("valkey.enabled", "yes"),
        ("valkey.auth.password", "secret"),
        ("valkey.maxmemory", "half"),
        ("valkey.persistence.size", "big"),
        ("config.wait_second", 5),
        ("config.wait_seconds", "long"),
        ("config.max_waits", 0),
        ("config.max_waits", 10.5),
        ("config.lane", "off"),
        ("config.durability", "paper"),
        ("config.log_level", "loud"),
        ("config.codings", "gzip"),
        # What the chart itself says.
        ("config.bind", "127.0.0.1:1"),
        ("config.redis", "redis://:password@redis.example"),
        ("config.insecure", True),
        ("config.workers", 2),
        ("config.domain", [{"title": "without a name"}]),
        ("config.domain", [{"name": "d", "feeds": []}]),
        ("config.domain", [{"name": "d", "feed": [{"name": "f", "kind": "fanout"}]}]),
        ("config.authenticator", [{"type": "basic"}]),
        ("config.authenticator", [{"type": "basic", "file": "f", "password": "secret"}]),
        ("config.authenticator", [{"type": "jwt", "issuer": "i", "audience": [], "keys": "k"}]),
        ("config.rule", [{"principal": "a", "verbs": ["read"], "domain": "*", "feed": "*"}]),
        ("config.rule", [{"verbs": ["publish"], "domain": "*", "feed": "*"}]),
        ("baseUrl", "messages.example"),
        ("trustedProxies", "10.0.0.0/8"),
        ("logFormat", "xml"),
        ("drain.seconds", 0),
        ("resources.requests.memory", "much"),
        ("resources.memory", "1Gi"),
        ("extraEnv", [{"value": "without a name"}]),
        ("podLabels.number", 1),
        ("topologySpread.whenUnsatisfiable", "Never"),
        ("podDisruptionBudget.maxUnavailable", 0),
        ("service.type", "ExternalName"),
        ("service.port", 0),
        ("ingress.hosts", ["https://messages.example"]),
        ("httpRoute.timeouts.request", "75"),
        ("metrics.port", 8080),
        ("metrics.serviceMonitor.interval", "often"),
    ],
)
def test_a_wrong_value_is_refused_and_named(rendered: Rendered, path: str, value: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        rendered(PRODUCTION, nested(path, value))
    top = path.partition(".")[0]
    assert f"'/{top}" in str(refused.value), json.dumps(value)
