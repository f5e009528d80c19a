"""What a kubelet makes of a container: its variables, and its files, here in a folder of a test."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from tests.chart.manifests import Manifest, Manifests

Secrets = Mapping[str, Mapping[str, str]]


class Container:
    """A pod's first container, with its volumes written below `root`.

    `others` are Secrets that were there before the release.
    """

    def __init__(
        self, manifests: Manifests, pod: Manifest, root: Path, others: Secrets | None = None
    ) -> None:
        self._secrets = {**_secrets(manifests), **(others or {})}
        self._maps = {
            manifest["metadata"]["name"]: manifest["data"]
            for manifest in manifests.all
            if manifest["kind"] == "ConfigMap"
        }
        self._root = root
        self._spec = pod["spec"]["containers"][0]
        mounts = self._spec.get("volumeMounts", ())
        self._paths = [mount["mountPath"] for mount in mounts]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for mount in mounts:
            self._write(mount["mountPath"], volumes.get(mount["name"], {}))

    @property
    def command(self) -> list[str]:
        """The command and its arguments, with their variables and paths."""
        texts = [*self._spec.get("command", ()), *self._spec.get("args", ())]
        return [self.moved(_expanded(text, self.environment)) for text in texts]

    @property
    def environment(self) -> dict[str, str]:
        """The variables."""
        found: dict[str, str] = {}
        for variable in self._spec.get("env", ()):
            if "value" in variable:
                value = _expanded(variable["value"], found)
            else:
                named = variable["valueFrom"]["secretKeyRef"]
                value = self._secrets[named["name"]][named["key"]]
            found[variable["name"]] = self.moved(value)
        return found

    def moved(self, text: str) -> str:
        """Return a text whose paths lead to where the volumes are."""
        for path in self._paths:
            text = re.sub(rf"(?<![\w/-]){path}(?![\w-])", str(self._root) + path, text)
        return text

    def _write(self, path: str, volume: Manifest) -> None:
        folder = self._root / path.removeprefix("/")
        folder.mkdir(parents=True)
        for name, text in self._files(volume).items():
            (folder / name).write_text(self.moved(text))

    def _files(self, volume: Manifest) -> Mapping[str, str]:
        if "configMap" in volume:
            return self._maps.get(volume["configMap"]["name"], {})
        if "secret" not in volume:
            return {}
        entries = self._secrets[volume["secret"]["secretName"]]
        items = volume["secret"].get("items")
        if items is None:
            return entries
        return {item["path"]: entries[item["key"]] for item in items}


def _secrets(manifests: Manifests) -> dict[str, dict[str, str]]:
    return {
        manifest["metadata"]["name"]: {
            name: base64.b64decode(text).decode() for name, text in manifest["data"].items()
        }
        for manifest in manifests.all
        if manifest["kind"] == "Secret"
    }


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in their places, and leave what is none."""
    return re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), text)
