"""A release over its life: `helm install` and `helm upgrade`, as they run against a cluster."""

import base64
import hashlib
from collections.abc import Iterator

import pytest
from helm_python.chart import Chart
from helm_python.config import Config

from restms_node import keys_file
from tests.chart.cases import AUTHENTICATED
from tests.chart.kubernetes import Kubernetes
from tests.chart.manifests import NAMESPACE, TRIAL, Manifest, merged


@pytest.fixture
def cluster() -> Iterator[Kubernetes]:
    with Kubernetes() as cluster:
        yield cluster


@pytest.fixture
def helm(cluster: Kubernetes, chart: Chart) -> Iterator[Config]:
    """Helm, which has installed the chart for trying out."""
    with cluster.helm() as helm:
        helm.install(chart, "restms", TRIAL, namespace=NAMESPACE)
        yield helm


def entry(cluster: Kubernetes, secret: str, name: str) -> str:
    return base64.b64decode(cluster.of_kind("Secret")[secret]["data"][name]).decode()


def upgrade(helm: Config, chart: Chart, *values: Manifest) -> None:
    helm.upgrade(chart, "restms", merged(TRIAL, *values), namespace=NAMESPACE)


def test_the_test_is_run_when_it_is_asked_for_and_not_installed(
    cluster: Kubernetes, helm: Config
) -> None:
    assert {manifest["kind"] for manifest in cluster.kept.values()} >= {"Deployment", "Secret"}
    assert cluster.of_kind("Pod") == {}


def test_the_key_that_is_made_is_one_that_nodes_know(cluster: Kubernetes, helm: Config) -> None:
    prefix, secret = keys_file.split(entry(cluster, "restms-key", "key")) or ("", "")
    [(known, key)] = keys_file.read(entry(cluster, "restms-key", "keys").encode()).items()
    assert (known, key.name) == (prefix, "admin")
    assert key.hash == hashlib.sha256(secret.encode()).hexdigest()


def test_what_is_secret_is_another_in_each_release(
    cluster: Kubernetes, helm: Config, chart: Chart
) -> None:
    helm.install(chart, "other", TRIAL, namespace=NAMESPACE)
    assert entry(cluster, "restms-key", "key") != entry(cluster, "other-restms-key", "key")
    passwords = [
        entry(cluster, f"{name}-valkey", "password") for name in ("restms", "other-restms")
    ]
    assert passwords[0] != passwords[1]
    assert all(len(password) == 40 and password.isalnum() for password in passwords)


def test_an_upgrade_keeps_what_is_secret(cluster: Kubernetes, helm: Config, chart: Chart) -> None:
    before = cluster.of_kind("Secret")
    upgrade(helm, chart, {"replicaCount": 3})
    assert cluster.of_kind("Deployment")["restms"]["spec"]["replicas"] == 3
    assert cluster.of_kind("Secret") == before


def test_a_key_may_come_to_stand_for_another_name(
    cluster: Kubernetes, helm: Config, chart: Chart
) -> None:
    key = entry(cluster, "restms-key", "key")
    upgrade(helm, chart, {"auth": {"keyName": "operator"}})
    assert entry(cluster, "restms-key", "key") == key
    [known] = keys_file.read(entry(cluster, "restms-key", "keys").encode()).values()
    assert known.name == "operator"
    assert known.hash == keys_file.hash_of(key.partition(".")[2])


def test_a_key_that_was_deleted_is_made_anew(
    cluster: Kubernetes, helm: Config, chart: Chart
) -> None:
    key = entry(cluster, "restms-key", "key")
    [path] = [path for path in cluster.kept if path.endswith("/restms-key")]
    del cluster.kept[path]
    upgrade(helm, chart)
    assert entry(cluster, "restms-key", "key") != key


def test_with_authenticators_of_ones_own_the_made_key_goes(
    cluster: Kubernetes, helm: Config, chart: Chart
) -> None:
    upgrade(helm, chart, AUTHENTICATED)
    assert cluster.of_kind("Secret").keys() == {"restms-valkey"}


def test_an_upgrade_changes_nothing_that_kubernetes_lets_nobody_change(
    cluster: Kubernetes, helm: Config, chart: Chart
) -> None:
    def fixed() -> list[Manifest]:
        valkey = cluster.of_kind("StatefulSet")["restms-valkey"]["spec"]
        nodes = cluster.of_kind("Deployment")["restms"]["spec"]
        return [
            *(nodes["selector"], valkey["selector"]),
            *(valkey["serviceName"], valkey["volumeClaimTemplates"]),
        ]

    before = fixed()
    labels = {"commonLabels": {"team": "integration"}, "podLabels": {"zone": "inner"}}
    upgrade(helm, chart, labels, AUTHENTICATED, {"valkey": {"podLabels": {"zone": "inner"}}})
    assert fixed() == before
