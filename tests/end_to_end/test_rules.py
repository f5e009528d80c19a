"""Real nodes that know who comes in: keys, rules, what belongs to whom, and the audit log."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import Client, name, text, until
from tests.nodes import Cluster, Node

CONFIG = """
audit_log = "{directory}/audit.log"
heartbeat_seconds = 0.2

[[authenticator]]
type = "keys"
file = "keys"

[[rule]]
group = "stations"
verbs = ["publish"]
domain = "default"
feed = "readings.*"

[[rule]]
principal = "analyst"
verbs = ["configure", "subscribe"]
domain = "default"
feed = "readings.*"
"""
FEED = "/restms/feed/readings.oslo"


@dataclass
class World:
    """Nodes, their files, and whose keys there are."""

    client: Client
    directory: Path
    keys: dict[str, str]

    def send(
        self, who: str, method: str, uri: str, body: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send a request by somebody to the next node."""
        return self.client.send(
            method, uri, body, Authorization=f"Bearer {self.keys[who]}", **headers
        )

    def key(self, *arguments: str) -> str:
        """Run `restms key` on the file of keys."""
        command = [sys.executable, "-m", "restms_node", "key", str(self.directory / "keys")]
        ran = subprocess.run([*command, *arguments], capture_output=True, check=True, text=True)
        return ran.stdout.strip()

    def audited(self) -> list[dict[str, object]]:
        """The lines of the audit log."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("access")
    config = directory / "restms.toml"
    config.write_text(CONFIG.format(directory=directory))
    one = World(None, directory, {})  # type: ignore[arg-type]
    one.keys["station"] = one.key("station", "--groups", "stations")
    one.keys["analyst"] = one.key("analyst")
    one.keys["guest"] = one.key("guest", "--groups", "guests,others")
    with Cluster(1, "--config", str(config), "--access-log") as cluster:
        cluster.add("--no-lane")
        one.client = Client(cluster)
        yield one
        one.client.close()


def principals(node: Node) -> set[str]:
    """Who has a line in a node's access log."""
    lines = [json.loads(line) for line in node.log().splitlines()]
    return {line["principal"] for line in lines if line.get("logger") == "restms.requests"}


def test_each_does_what_rules_let_it(world: World) -> None:
    new_feed = '<restms><feed name="readings.oslo" type="fanout"/></restms>'
    message = "<restms><message><content>-7</content></message></restms>"
    domain = "/restms/domain/default"
    assert world.send("station", "POST", domain, new_feed).status_code == 403
    assert world.send("analyst", "POST", domain, new_feed).status_code == 201
    pipe = world.send("analyst", "POST", domain, "<restms><pipe/></restms>").headers["location"]
    join = f'<restms><join feed="{FEED}"/></restms>'
    assert world.send("analyst", "POST", pipe, join).status_code == 201
    assert world.send("analyst", "POST", FEED, message).status_code == 403
    for _ in range(2):  # by both nodes
        assert world.send("station", "POST", FEED, message).status_code == 200
        assert world.send("station", "GET", pipe).status_code == 403
        assert world.send("guest", "GET", FEED).status_code == 403
        assert world.client.send("GET", FEED).status_code == 401
    for number in (1, 2):
        assert text(world.send("analyst", "GET", f"{pipe}-{number}")) == "-7"
    secret = name(pipe)[1:]
    until(lambda: any(line["status"] == 401 for line in world.audited()))
    lines = world.audited()
    assert {(line["principal"], line["event"]) for line in lines} >= {
        ("station", "refused"),
        ("analyst", "created"),
        ("analyst", "refused"),
        ("guest", "refused"),
        ("", "refused"),
    }
    told = (world.directory / "audit.log").read_text() + world.client.cluster.log()
    assert secret not in told
    for node in world.client.cluster.nodes:
        until(lambda node=node: {"station", "analyst"} <= principals(node))
    assert not any(key in told for key in world.keys.values())


def test_a_key_that_is_taken_out_ends_what_it_began(world: World) -> None:
    key = world.key("visitor", "--groups", "stations")
    url = world.client.cluster.urls[0] + FEED
    asked = {"Authorization": f"Bearer {key}"}

    def status() -> int:
        return world.client.send("GET", FEED, node=0, **asked).status_code

    until(lambda: status() == 200)  # nodes look at the file every two seconds
    headers = {**asked, "Content-Type": "application/cbor-seq"}

    def pieces() -> Iterator[bytes]:
        yield b"\xa1\x67address\x61a"
        world.key("visitor", "--delete")
        until(lambda: status() == 401)
        yield b"\xa1\x67address\x61a"

    answer = httpx.post(url, content=pieces(), headers=headers, timeout=20)
    assert (answer.status_code, answer.headers["restms-routed"]) == (401, "1")
    assert answer.headers["www-authenticate"].startswith("Bearer")
