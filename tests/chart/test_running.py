"""What the chart renders, running: Valkey, two nodes, the test that Helm runs, and the notes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chart.cases import INGRESS
from tests.chart.conftest import Rendered
from tests.chart.kubelet import Container
from tests.chart.manifests import TRIAL, Manifests
from tests.nodes import Node
from tests.servers import find_binary, free_port
from tests.waiting import wait_until

SECONDS = 60


class PodNode(Node):
    """A node with nothing but the variables of its container."""

    def __init__(self, directory: Path, name: str, environment: Mapping[str, str]) -> None:
        self.environment = environment
        super().__init__(directory, name, "", env=environment)

    def spawn(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "restms_node", "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._env,
            )


class Valkey:
    """The chart's Valkey, with the command of its container."""

    def __init__(self, manifests: Manifests, root: Path) -> None:
        pod = manifests.one("StatefulSet", "restms-valkey")["spec"]["template"]
        self.port = free_port()
        self.container = Container(manifests, pod, root)
        self.password = (root / "etc/valkey-auth/password").read_text()
        # The file as it is, but for the port, which may be taken here, and the address.
        file = root / "etc/valkey/valkey.conf"
        text = file.read_text().replace("port 6379", f"port {self.port}")
        file.write_text(text.replace("bind * -::*", "bind 127.0.0.1"))
        self.path = root / "bin"
        self.path.mkdir()
        (self.path / "valkey-server").symlink_to(find_binary())
        with (root / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.container.command, env=self.environment, stdout=log, stderr=log
            )
        try:
            wait_until(self.answers)
        except BaseException:
            self.process.kill()
            raise

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.path}:{os.environ['PATH']}"}

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, password=self.password, protocol=2)

    def answers(self) -> bool:
        assert self.process.poll() is None
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pods")


@pytest.fixture(scope="module")
def manifests(rendered: Rendered) -> Manifests:
    # Behind an Ingress, so that URIs in answers begin with a name that leads nowhere here.
    return rendered(TRIAL, INGRESS)


@pytest.fixture(scope="module")
def valkey(manifests: Manifests, root: Path) -> Iterator[Valkey]:
    server = Valkey(manifests, root / "valkey")
    yield server
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(SECONDS) == 0


@pytest.fixture(scope="module")
def nodes(manifests: Manifests, valkey: Valkey, root: Path) -> Iterator[list[PodNode]]:
    nodes: list[PodNode] = []
    try:
        nodes += [pod_node(manifests, valkey, root, name) for name in ("node-1", "node-2")]
        for node in nodes:
            node.await_url()
        yield nodes
    finally:
        for node in nodes:
            node.close()


def pod_node(manifests: Manifests, valkey: Valkey, root: Path, name: str) -> PodNode:
    """Start a node as its container would, with addresses of this machine."""
    environment = Container(manifests, manifests.node, root / name).environment
    there, here = "restms-valkey:6379", f"127.0.0.1:{valkey.port}"
    environment |= {
        "RESTMS_BIND": "127.0.0.1:0",
        "RESTMS_METRICS_BIND": f"127.0.0.1:{free_port()}",
        "RESTMS_DRAIN_DELAY_SECONDS": "0",
        "RESTMS_REDIS": environment["RESTMS_REDIS"].replace(there, here),
    }
    return PodNode(root, name, environment)


def addresses(nodes: list[PodNode]) -> list[str]:
    return [node.url.removeprefix("http://") for node in nodes]


def run_test(
    manifests: Manifests, root: Path, nodes: list[str], **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run the pod of `helm test`, with the addresses of nodes for the name of their Service."""
    [pod] = [manifest for manifest in manifests.all if manifest["kind"] == "Pod"]
    container = Container(manifests, pod, root)
    python, *arguments, service = container.command
    assert (python, service) == ("python3", "restms-nodes:8080")
    return subprocess.run(
        [sys.executable, *arguments, *nodes],
        env={**container.environment, **more},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_valkey_takes_its_configuration(valkey: Valkey) -> None:
    with valkey.client() as client:
        found = client.config_get("*")
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "everysec"
    assert found["save"] == ""
    assert found["maxmemory"] == str(512 << 20)
    assert found["maxmemory-policy"] == "noeviction"
    assert sorted(found["notify-keyspace-events"]) == ["K", "t"]
    assert found["stream-node-max-bytes"] == "1024"
    assert found["requirepass"] == valkey.password


def test_valkey_asks_for_the_password_and_does_not_show_it(valkey: Valkey) -> None:
    once = Retry(NoBackoff(), 0)
    stranger = redis.Redis(port=valkey.port, protocol=2, retry=once)
    with stranger as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    arguments = Path(f"/proc/{valkey.process.pid}/cmdline").read_bytes()
    assert valkey.password.encode() not in arguments


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="the probes run redis-cli")
def test_valkeys_probes_succeed(valkey: Valkey, manifests: Manifests, root: Path) -> None:
    # In the image it is valkey-cli, which has the same options, and asks the usual port.
    command_line = valkey.path / "valkey-cli"
    command_line.write_text(f'#!/bin/sh\nexec redis-cli -p {valkey.port} "$@"\n')
    command_line.chmod(0o755)
    template = manifests.one("StatefulSet", "restms-valkey")["spec"]["template"]
    container = template["spec"]["containers"][0]
    for name in ("livenessProbe", "readinessProbe"):
        command = [valkey.container.moved(text) for text in container[name]["exec"]["command"]]
        done = subprocess.run(command, env=valkey.environment, check=False, timeout=SECONDS)
        assert done.returncode == 0, name
        wrong = [text.replace("/password", "/none") for text in command]
        failed = subprocess.run(wrong, env=valkey.environment, check=False, timeout=SECONDS)
        assert failed.returncode != 0, name


def test_helm_test_publishes_at_one_node_and_waits_at_the_other(
    manifests: Manifests, nodes: list[PodNode], root: Path
) -> None:
    done = run_test(manifests, root / "tested", addresses(nodes))
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = sorted(node.url for node in nodes)
    assert f"published at {one}, received at {other}" in done.stdout
    assert "acknowledged" in done.stdout


def test_helm_test_does_with_one_node(
    manifests: Manifests, nodes: list[PodNode], root: Path
) -> None:
    done = run_test(manifests, root / "alone", addresses(nodes[:1]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there is one node only" in done.stdout


def test_helm_test_fails_where_it_may_not_come_in(
    manifests: Manifests, nodes: list[PodNode], root: Path
) -> None:
    wrong = "Bearer rkwrong1." + 43 * "x"
    done = run_test(manifests, root / "refused", addresses(nodes), AUTHORIZATION=wrong)
    assert done.returncode == 1
    assert re.search(r"^failed: POST at \S+ was answered 401: .+$", done.stdout, re.MULTILINE)


def test_metrics_are_told_to_prometheus_without_credentials(nodes: list[PodNode]) -> None:
    for node in nodes:
        address = node.environment["RESTMS_METRICS_BIND"]
        told = httpx.get(f"http://{address}/metrics").text
        assert re.search(r"^restms_waits ", told, re.MULTILINE)  # by which nodes are scaled
        assert httpx.get(f"{node.url}/metrics").status_code == 404  # there alone


def test_a_node_drains_before_it_ends_and_within_its_grace_period(
    manifests: Manifests, valkey: Valkey, root: Path
) -> None:
    node = pod_node(manifests, valkey, root, "drained")
    try:
        node.await_url()
        hook = manifests.container["lifecycle"]["preStop"]["exec"]["command"]
        restms, *arguments = hook
        assert (restms, arguments[:3]) == ("restms", ["drain", "--pid", "1"])
        arguments[2] = str(node.process.pid)  # which is 1 in its container
        began = time.monotonic()
        command = [sys.executable, "-m", "restms_node", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        assert httpx.get(f"{node.url}/readyz").status_code == 503
        assert httpx.get(f"{node.url}/livez").status_code == 200  # or it would be started again
        node.signal(signal.SIGTERM)
        assert node.ended() == 0
        assert time.monotonic() - began < manifests.node["spec"]["terminationGracePeriodSeconds"]
    finally:
        node.close()


def lines_of(notes: str) -> list[str]:
    """The lines of the notes that a shell is to run, but for those that need a cluster."""
    lines = [line.strip() for line in notes.splitlines() if line.startswith("  ")]
    return [line for line in lines if line.startswith(("key=", "pipe=", "curl "))]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the lines of the notes need curl")
def test_the_notes_publish_the_first_message(
    manifests: Manifests, nodes: list[PodNode], tmp_path: Path
) -> None:
    [secret] = [m for m in manifests.all if m["metadata"]["name"] == "restms-key" and "data" in m]
    command(tmp_path / "kubectl", f"printf %s {secret['data']['key']}")
    node = nodes[0].url.removeprefix("http://")
    (tmp_path / ".curlrc").write_text(f'connect-to = "127.0.0.1:8080:{node}"\n')
    key, pipe, publish, read, acknowledge = lines_of(manifests.notes)
    script = "\n".join(
        # The reader first: it waits for what is published after it has begun.
        ("set -eu", key, pipe, f"{read} > read & reader=$!", publish, "wait $reader", "cat read")
    )
    environment = {"CURL_HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = shell(f"{script}\n{acknowledge} -w '%{{http_code}}'", tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert '<message count="1"/>' in done.stdout
    assert "Hello, world</content>" in done.stdout
    assert done.stdout.endswith("200")


def command(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def shell(
    script: str, folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
        env=dict(environment),
    )
