"""What a strict reviewer looks at in the pods: rights, probes, how they end, where they stand."""

import json
from pathlib import Path

import pytest

from restms_node import server
from restms_node.options import load
from tests.chart.cases import CASES, PLACED, SCALED, TUNED, VALKEY
from tests.chart.conftest import Rendered
from tests.chart.manifests import PRODUCTION, TRIAL, Manifest, Manifests

EVERY_CASE = pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())


@EVERY_CASE
def test_pods_are_restricted(rendered: Rendered, values: Manifest) -> None:
    """As the restricted Pod Security Standard wants it, and without a token for Kubernetes."""
    for pod in rendered(values).pods:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 999
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            # Whoever is throttled keeps others waiting.
            assert container["resources"]["limits"].keys() == {"memory"}
            assert all("hostPort" not in port for port in container.get("ports", ()))


@EVERY_CASE
def test_nothing_can_be_written_but_the_data_of_valkey(
    rendered: Rendered, values: Manifest
) -> None:
    for pod in rendered(values).pods:
        for container in pod["spec"]["containers"]:
            mounts = container.get("volumeMounts", ())
            writable = [mount["mountPath"] for mount in mounts if not mount.get("readOnly")]
            assert writable == (["/data"] if container["name"] == "valkey" else [])


@EVERY_CASE
def test_images_do_not_change_under_their_names(rendered: Rendered, values: Manifest) -> None:
    for pod in rendered(values).pods:
        for container in pod["spec"]["containers"]:
            name, at, digest = container["image"].partition("@sha256:")
            tag = name.rpartition("/")[2].partition(":")[2]
            assert (len(digest) == 64) if at else (tag and tag != "latest")


@EVERY_CASE
def test_secrets_are_only_named(rendered: Rendered, values: Manifest) -> None:
    """What is secret stands in Secrets: made ones, whose values stand nowhere else, or others'."""
    manifests = rendered(values)
    secrets = [manifest for manifest in manifests.all if manifest["kind"] == "Secret"]
    others = json.dumps([m for m in manifests.all if m["kind"] != "Secret"]) + manifests.notes
    for secret in secrets:
        assert all(text not in others for text in secret["data"].values())
    if not values.get("valkey"):
        [url] = [one for one in manifests.container["env"] if one["name"] == "RESTMS_REDIS"]
        assert url["valueFrom"] == {"secretKeyRef": {"name": "our-redis", "key": "url"}}


def test_nodes_are_given_the_digest_of_the_key_and_not_the_key(rendered: Rendered) -> None:
    [auth] = [v for v in rendered(TRIAL).node["spec"]["volumes"] if v["name"] == "auth"]
    assert auth["secret"]["items"] == [{"key": "keys", "path": "keys"}]
    assert auth["secret"]["defaultMode"] == 0o440


def test_probes_ask_whether_a_node_lives_and_whether_it_is_ready(rendered: Rendered) -> None:
    container = rendered(TRIAL).container
    asked = {
        name: (container[name]["httpGet"]["path"], container[name]["httpGet"]["port"])
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {
        "startupProbe": ("/livez", "http"),  # a Redis that is not there yet is no reason to end
        "livenessProbe": ("/livez", "http"),
        "readinessProbe": ("/readyz", "http"),
    }
    assert {"name": "http", "containerPort": 8080} in container["ports"]


def drain_of(manifests: Manifests) -> float:
    """The bound on preStop, in seconds."""
    command = manifests.container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:5] == ["restms", "drain", "--pid", "1", "--seconds"]
    return float(command[5])


@pytest.mark.parametrize(
    "values",
    [
        TRIAL,
        {**PRODUCTION, **TUNED},
        {**PRODUCTION, "drain": {"seconds": 45}, "config": {"drain_seconds": 120}},
        # As they are in the code, where the values have none.
        {**PRODUCTION, "config": {"drain_seconds": None, "drain_delay_seconds": None}},
    ],
)
def test_the_grace_period_is_longer_than_the_longest_drain(
    rendered: Rendered, values: Manifest, tmp_path: Path
) -> None:
    manifests = rendered(values)
    grace = manifests.node["spec"]["terminationGracePeriodSeconds"]
    file = tmp_path / "restms.toml"
    file.write_text(manifests.toml)
    settings = load({"config": str(file), "redis": "redis://localhost"}, {})
    longest = drain_of(manifests) + server.longest_drain(settings)
    assert longest + 5 <= grace <= longest + 10


def test_an_upgrade_never_has_fewer_nodes_than_were_asked_for(rendered: Rendered) -> None:
    spec = rendered(TRIAL).one("Deployment", "restms")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["minReadySeconds"] > 0


def test_another_file_is_other_nodes_and_the_same_is_not(rendered: Rendered) -> None:
    def checksum(values: Manifest) -> str:
        checksum: str = rendered(TRIAL, values).node["metadata"]["annotations"]["checksum/config"]
        return checksum

    assert checksum({}) == checksum({"replicaCount": 5})
    assert checksum({}) != checksum({"config": {"wait_seconds": 30}})
    assert checksum({}) != checksum({"trustedProxies": ["10.0.0.0/8"]})


def test_an_upgrade_of_the_chart_alone_does_not_start_anything_again(rendered: Rendered) -> None:
    for pod in rendered(TRIAL).pods[:2]:
        assert "helm.sh/chart" not in pod["metadata"]["labels"]


def test_nodes_stand_on_different_machines_and_in_different_zones(rendered: Rendered) -> None:
    constraints = rendered(TRIAL).node["spec"]["topologySpreadConstraints"]
    assert [constraint["topologyKey"] for constraint in constraints] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    for constraint in constraints:
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_machines_are_emptied_one_node_at_a_time_but_never_kept_by_a_single_one(
    rendered: Rendered,
) -> None:
    budget = rendered(TRIAL).one("PodDisruptionBudget", "restms")["spec"]
    assert budget["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in rendered(TRIAL, {"replicaCount": 1}).kinds()
    single = {"autoscaling": {"enabled": True, "minReplicas": 1}}
    assert "PodDisruptionBudget" not in rendered(TRIAL, single).kinds()


def test_the_number_of_nodes_is_left_to_whoever_scales_them(rendered: Rendered) -> None:
    manifests = rendered(TRIAL, SCALED)
    assert "replicas" not in manifests.one("Deployment", "restms")["spec"]
    scaler = manifests.one("HorizontalPodAutoscaler", "restms")["spec"]
    cpu, waits = scaler["metrics"]
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert waits["pods"]["metric"] == {"name": "restms_waits"}
    assert waits["pods"]["target"] == {"type": "AverageValue", "averageValue": "4000"}
    assert scaler["behavior"]["scaleDown"]["policies"][0]["value"] == 1


def test_what_is_said_of_pods_is_in_them(rendered: Rendered) -> None:
    manifests = rendered(TRIAL, PLACED)
    spec, labels = manifests.node["spec"], manifests.node["metadata"]["labels"]
    assert labels["zone"] == "inner"
    assert labels["team"] == "integration"
    assert labels["app.kubernetes.io/name"] == "restms"  # by which they are found
    assert spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["nodeSelector"] == PLACED["nodeSelector"]
    assert spec["tolerations"] == PLACED["tolerations"]
    assert spec["affinity"] == PLACED["affinity"]
    assert PLACED["extraEnv"][0] in manifests.container["env"]
    assert PLACED["extraVolumes"][0] in spec["volumes"]
    assert PLACED["extraVolumeMounts"][0] in manifests.container["volumeMounts"]
    assert manifests.container["image"].startswith("registry.example/restms@sha256:")


def test_files_for_tls_to_redis_are_where_the_url_can_name_them(rendered: Rendered) -> None:
    manifests = rendered(PRODUCTION, {"redis": {"tlsSecret": "our-redis-tls"}})
    [volume] = [v for v in manifests.node["spec"]["volumes"] if v["name"] == "redis-tls"]
    assert volume["secret"] == {"secretName": "our-redis-tls", "defaultMode": 0o440}
    mount = {"name": "redis-tls", "mountPath": "/etc/restms-redis", "readOnly": True}
    assert mount in manifests.container["volumeMounts"]


def test_nodes_listen_where_the_cluster_reaches_them(rendered: Rendered) -> None:
    container = rendered(TRIAL, {"bindAddress": "[::]"}).container
    assert {"name": "RESTMS_BIND", "value": "[::]:8080"} in container["env"]
    assert {"name": "RESTMS_METRICS_BIND", "value": "[::]:9090"} in container["env"]
    assert container["args"] == ["serve"]


@pytest.mark.parametrize(
    ("config", "policy"),
    [
        ({}, "everysec"),
        ({"durability": "disk"}, "always"),
        ({"domain": [{"name": "d", "feed": [{"name": "f", "durability": "disk"}]}]}, "always"),
        ({"domain": [{"name": "d", "feed": [{"name": "f", "durability": "node"}]}]}, "everysec"),
    ],
)
def test_valkey_writes_at_once_what_is_promised_to_be_on_the_disk(
    rendered: Rendered, config: Manifest, policy: str
) -> None:
    manifests = rendered(TRIAL, {"config": config})
    lines = manifests.one("ConfigMap", "restms-valkey")["data"]["valkey.conf"].splitlines()
    assert [line for line in lines if line.startswith("appendfsync")] == [f"appendfsync {policy}"]


def test_valkey_is_one_server_that_keeps_its_volume(rendered: Rendered) -> None:
    manifests = rendered(TRIAL)
    server = manifests.one("StatefulSet", "restms-valkey")["spec"]
    assert server["replicas"] == 1
    [claim] = server["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    # Of a claim nothing can be changed later.
    assert "helm.sh/chart" not in claim["metadata"]["labels"]
    of_ours = rendered(VALKEY)
    assert "restms-valkey" not in of_ours.names("Secret")
    volumes = of_ours.one("StatefulSet", "restms-valkey")["spec"]["template"]["spec"]["volumes"]
    [auth] = [volume["secret"] for volume in volumes if volume["name"] == "auth"]
    assert auth["secretName"] == "our-valkey"
    assert auth["items"] == [{"key": "word", "path": "password"}]
