"""The API of Kubernetes in small: it keeps what Helm gives it, and starts nothing.

Enough for `helm install` and `helm upgrade` to run as they do against a cluster: discovery, the
part of OpenAPI by which Helm knows that the server checks fields, server-side apply, and reading.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import yaml
from helm_python.config import Config

from tests.chart.manifests import NAMESPACE, Manifest

KINDS = {
    "/api/v1": {
        "configmaps": "ConfigMap",
        "pods": "Pod",
        "secrets": "Secret",
        "services": "Service",
        "serviceaccounts": "ServiceAccount",
    },
    "/apis/apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "/apis/networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "/apis/policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}
"""By the root of their API and their name in paths."""

POLL_SECONDS = 0.01  # how soon its thread sees that it is to end

NOT_FOUND = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}


class Kubernetes:
    """A server on a port of its own; `kept` has what it was given, by its path."""

    def __init__(self) -> None:
        self.kept: dict[str, Manifest] = {}
        kept = self.kept

        class Handler(_Handler):
            objects = kept

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,))
        self._thread.start()

    def helm(self) -> Config:
        """Return Helm's connection to it, which keeps its releases in memory."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "contexts": [{"name": "here", "context": {"cluster": "here"}}],
            "current-context": "here",
        }
        return Config(
            kubeconfig_content=json.dumps(kubeconfig),
            namespace=NAMESPACE,
            storage_driver="memory",
        )

    def of_kind(self, kind: str) -> dict[str, Manifest]:
        """Return what there is of a kind, by name."""
        found = [manifest for manifest in self.kept.values() if manifest["kind"] == kind]
        return {manifest["metadata"]["name"]: manifest for manifest in found}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    objects: dict[str, Manifest]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self._answer(DISCOVERY.get(path) or self.objects.get(path))

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        applied = self.headers["Content-Type"] == "application/apply-patch+yaml"
        path = self.path.partition("?")[0]
        if applied:
            self.objects[path] = yaml.safe_load(body)
        self._answer(self.objects[path] if applied else None)

    def do_DELETE(self) -> None:
        self._answer(self.objects.pop(self.path.partition("?")[0], None))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, document: Any) -> None:
        data = json.dumps(NOT_FOUND if document is None else document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _discovery() -> dict[str, Any]:
    """What Helm asks about the server, by path."""
    groups = [root.removeprefix("/apis/") for root in KINDS if root.startswith("/apis/")]
    found: dict[str, Any] = {
        "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "groups": [_group(version) for version in groups]},
        "/openapi/v3": {
            "paths": {root[1:]: {"serverRelativeURL": f"/openapi/v3{root}"} for root in KINDS}
        },
    }
    for root, kinds in KINDS.items():
        version = root.removeprefix("/apis/").removeprefix("/api/")
        found[root] = {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [
                {"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "patch"]}
                for name, kind in kinds.items()
            ],
        }
        found[f"/openapi/v3{root}"] = {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.33.0"},
            "paths": {
                f"{root}/namespaces/{{namespace}}/{name}/{{name}}": {
                    "patch": _checked_patch(version, kind)
                }
                for name, kind in kinds.items()
            },
        }
    return found


def _group(version: str) -> Manifest:
    group, _, number = version.partition("/")
    one = {"groupVersion": version, "version": number}
    return {"name": group, "versions": [one], "preferredVersion": one}


def _checked_patch(version: str, kind: str) -> Manifest:
    group, _, number = version.rpartition("/")
    return {
        "parameters": [{"name": name, "in": "query"} for name in ("dryRun", "fieldValidation")],
        "responses": {},
        "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
    }


DISCOVERY = _discovery()
