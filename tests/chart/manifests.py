"""The chart as Helm renders it, found by kind and name."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from helm_python import HelmError
from helm_python.chart import Chart

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "restms"
NAMESPACE = "messages"

Manifest = dict[str, Any]

TRIAL: Manifest = {"valkey": {"enabled": True}}
PRODUCTION: Manifest = {"redis": {"existingSecret": "our-redis"}}


class RefusedError(Exception):
    """What Helm says of values that it does not render."""


class Manifests:
    """What a release is made of."""

    def __init__(self, rendered: Mapping[str, str]) -> None:
        self.notes = rendered["restms/templates/NOTES.txt"]
        self.all = list(_documents(rendered))

    def one(self, kind: str, name: str) -> Manifest:
        """Return a manifest."""
        [found] = [m for m in self.all if (m["kind"], m["metadata"]["name"]) == (kind, name)]
        return found

    def kinds(self) -> set[str]:
        """Return the kinds that there are."""
        return {manifest["kind"] for manifest in self.all}

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind's manifests."""
        return [m["metadata"]["name"] for m in self.all if m["kind"] == kind]

    @property
    def node(self) -> Manifest:
        """The specification of a node's pod."""
        pod: Manifest = self.one("Deployment", "restms")["spec"]["template"]
        return pod

    @property
    def container(self) -> Manifest:
        """A node's container."""
        container: Manifest = self.node["spec"]["containers"][0]
        return container

    @property
    def pods(self) -> list[Manifest]:
        """The specifications of all pods: the nodes', Valkey's, that of the test."""
        templates = [m["spec"]["template"] for m in self.all if "template" in m.get("spec", {})]
        return [*templates, *(m for m in self.all if m["kind"] == "Pod")]

    @property
    def toml(self) -> str:
        """The nodes' file."""
        text: str = self.one("ConfigMap", "restms")["data"]["restms.toml"]
        return text


def render(chart: Chart, values: Manifest, name: str = "restms") -> Manifests:
    """Render the chart. Raises RefusedError."""
    try:
        return Manifests(chart.render(values, name=name, namespace=NAMESPACE))
    except HelmError as error:
        raise RefusedError(str(error)) from error


def merged(*values: Manifest) -> Manifest:
    """Return values, those that come later before those that come first, as with several -f."""
    result: Manifest = {}
    for some in values:
        for key, value in some.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def _documents(rendered: Mapping[str, str]) -> Iterator[Manifest]:
    for path, text in rendered.items():
        if path.endswith(".yaml"):
            for document in yaml.load_all(text, Loader=Strict):
                if document is not None:
                    yield document


class Strict(yaml.CSafeLoader):
    """Refuses maps that have a key twice; YAML's readers otherwise take one or the other."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a map."""
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"a key is there twice: {keys}"
        return super().construct_mapping(node, deep)
