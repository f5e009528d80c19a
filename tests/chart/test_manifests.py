"""Every manifest is one that Kubernetes takes, of the oldest version that the chart allows on."""

import json
import re
from collections.abc import Callable
from functools import cache

import kubernetes_validate
import pytest
from helm_python import chart as helm
from helm_python.chart import Chart

from tests.chart import custom_resources
from tests.chart.cases import CASES
from tests.chart.conftest import Rendered
from tests.chart.manifests import CHART, NAMESPACE, TRIAL, Manifest, Manifests

LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def oldest_and_newest(chart: Chart) -> tuple[str, str]:
    """The oldest version of Kubernetes that Chart.yaml allows, and the newest that is known."""
    [oldest] = re.findall(r"^>=(\d+\.\d+)\.0-0$", chart.metadata["kubeVersion"])
    return oldest, kubernetes_validate.latest_version()


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_every_manifest_is_valid(chart: Chart, rendered: Rendered, values: Manifest) -> None:
    for manifest in rendered(values).all:
        if not custom_resources.check(manifest):
            for version in oldest_and_newest(chart):
                validate(json.dumps(manifest), version)


@cache  # most manifests are the same in many cases
def validate(manifest: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_helm_lint_finds_nothing(values: Manifest) -> None:
    report = helm.lint(CHART, values, strict=True, namespace=NAMESPACE)
    assert report["errors"] == []
    assert [found["error"] for found in report["messages"]] == ["icon is recommended"]


def test_helm_lint_finds_nothing_without_values() -> None:
    assert helm.lint(CHART, {}, strict=True)["errors"] == []


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_labels_and_names_are_well_formed(rendered: Rendered, values: Manifest) -> None:
    for manifest in rendered(values).all:
        metadata = manifest["metadata"]
        assert metadata["namespace"] == NAMESPACE
        assert metadata["labels"]["app.kubernetes.io/instance"] == "restms"
        assert all(LABEL.fullmatch(label) for label in metadata["labels"].values())


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_what_selects_pods_finds_those_that_are_meant(rendered: Rendered, values: Manifest) -> None:
    manifests = rendered(values)
    for manifest in manifests.all:
        if manifest["kind"] in SELECTORS:
            selector = SELECTORS[manifest["kind"]](manifest["spec"])
            found = [
                pod["metadata"]["labels"]["app.kubernetes.io/component"]
                for pod in manifests.pods
                if selector.items() <= pod["metadata"]["labels"].items()
            ]
            is_valkey = manifest["metadata"]["name"] == "restms-valkey"
            assert found == ["valkey" if is_valkey else "node"]


SELECTORS: dict[str, Callable[[Manifest], Manifest]] = {
    "Service": lambda spec: spec["selector"],
    "Deployment": lambda spec: spec["selector"]["matchLabels"],
    "StatefulSet": lambda spec: spec["selector"]["matchLabels"],
    "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
    "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
}


def test_long_names_are_cut_to_what_a_label_may_have(chart: Chart) -> None:
    rendered = chart.render(TRIAL, name="r" * 53, namespace=NAMESPACE)
    for manifest in Manifests(rendered).all:
        assert len(manifest["metadata"]["name"]) <= 63
        assert all(len(label) <= 63 for label in manifest["metadata"]["labels"].values())


def test_the_release_gives_the_names_unless_others_are_given(chart: Chart) -> None:
    def names(values: Manifest, release: str) -> list[str]:
        rendered = chart.render({**TRIAL, **values}, name=release, namespace=NAMESPACE)
        return Manifests(rendered).names("Deployment")

    assert names({}, "restms") == ["restms"]
    assert names({}, "east") == ["east-restms"]
    assert names({"nameOverride": "broker"}, "east") == ["east-broker"]
    assert names({"fullnameOverride": "broker"}, "east") == ["broker"]


def test_commented_defaults_are_what_there_is_no_need_for(rendered: Rendered) -> None:
    kinds = rendered(TRIAL).kinds()
    assert kinds.isdisjoint(
        {"Ingress", "HTTPRoute", "HorizontalPodAutoscaler", "ServiceMonitor", "PrometheusRule"}
    )
    assert {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"} <= kinds
