"""What real traffic of two nodes left in Redis; and the commands, as an operator runs them."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from restms_cluster.permissions import NODES, QUOTA, SCRIPTS, rule
from restms_node.command import main
from restms_node.options import options
from tests.nodes import Cluster
from tests.servers import Server, start_server
from tests.waiting import wait_until

NEEDED = (*SCRIPTS, *NODES, *QUOTA)
"""What nodes with the configuration below must be allowed."""

ITSELF = {"CONFIG|RESETSTAT", "CLIENT|SETINFO", "ACL|SETUSER"}
"""Commands that only the tests use."""

CONFIGURATION = """
bytes_per_domain = "64MiB"

[[domain]]
name = "default"

[[domain]]
name = "weather"
title = "Weather reports"

  [[domain.feed]]
  name = "lost"

  [[domain.feed]]
  name = "alerts"
  type = "rotator"
  dead_letter = "lost"
"""
HEADERS = {"Content-Type": "application/restms+xml", "Accept": "application/restms+xml"}


class Left:
    """What is in Redis: pipes of the domain `default`, fullest first, and feeds of `weather`."""

    def __init__(self, redis: Server) -> None:
        self.redis = redis
        self.pipes: list[str] = []
        self.secrets: list[str] = []
        self.used: set[str] = set()  # commands

    def dump(self) -> dict[bytes, bytes]:
        """Return all that is in Redis, and will not go by itself."""
        with self.redis.client() as client:
            names = [name for name in client.scan_iter(count=1000) if client.ttl(name) == -1]
            return {name: client.dump(name) for name in names}


def allow(client: "redis.Redis", user: str, commands: Iterable[str], *rules: str) -> None:
    """Make a user of Redis who may use these commands, and no others."""
    allowed = ("reset", "on", ">pass", *rules, *map(rule, commands))
    client.execute_command("ACL", "SETUSER", user, *allowed)


def as_user(user: str, url: str) -> str:
    """Return the URL of a server for a user."""
    return url.replace("://", f"://{user}:pass@")


def used(client: "redis.Redis") -> set[str]:
    """Return the commands that were used since the count began."""
    told = client.info("commandstats")
    done = {name.removeprefix("cmdstat_").upper() for name, one in told.items() if one["calls"]}
    return done - ITSELF


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in options():
        monkeypatch.delenv(option.variable, raising=False)
    monkeypatch.delenv("RESTMS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    configuration = tmp_path_factory.mktemp("commands") / "restms.toml"
    configuration.write_text(CONFIGURATION)
    server = start_server(tmp_path_factory.mktemp("redis"), "--notify-keyspace-events", "Kt")
    with server.client() as client:
        allow(client, "nodes", NEEDED, "~restms:*", "&restms:*", "&__keyspace@0__:restms:*")
        client.config_resetstat()
    options = ("--config", str(configuration), "--sweep-seconds", "0.2")
    with Cluster(2, *options, "--redis", as_user("nodes", server.url), redis=server) as nodes:
        there = Left(server)
        with httpx.Client(headers=HEADERS) as client:
            for number, url in enumerate((nodes.urls * 2)[:3]):
                there.pipes.append(_pipe(client, url, messages=3 - number))
            there.secrets = [uri.rpartition("/")[2] for uri in there.pipes]
            feed = "<restms><feed type='service' title='mine'/></restms>"
            made = client.post(f"{nodes.urls[0]}/restms/domain/default", content=feed)
            there.secrets.append(made.headers["location"].rpartition("/")[2])
            for delay in ("", "delay='3600000'", ""):
                message = f"<restms><message {delay}><content>rain</content></message></restms>"
                alerts = f"{nodes.urls[1]}/restms/feed/weather/alerts"
                assert client.post(alerts, content=message).status_code == 200
        with server.client() as look:
            state = "restms:{weather}"
            wait_until(lambda: all(look.hmget(state, "swept", "bytes")))
        for node in nodes.nodes:
            node.kill()  # so that what is there stays as it is
        with server.client() as look:
            there.used = used(look)
        yield there
    server.close()


def _pipe(client: httpx.Client, url: str, messages: int) -> str:
    pipe = f"<restms><pipe title='pipe {messages}'/></restms>"
    uri = client.post(f"{url}/restms/domain/default", content=pipe).headers["location"]
    address = uri.rpartition("/")[2]
    message = f"<message address='{address}'><content>secret text</content></message>"
    posted = client.post(
        f"{url}/restms/feed/default", content=f"<restms>{message * messages}</restms>"
    )
    assert posted.status_code == 200
    return str(uri)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that listen on TCP, each in a folder of its own, until the test's end."""
    started: list[Server] = []

    def one(*options: str) -> Server:
        directory = tmp_path / f"server-{len(started)}"
        directory.mkdir()
        started.append(start_server(directory, *options, tcp=True))
        return started[-1]

    yield one
    for server in started:
        server.close()


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """Start a server for a test to set up, right or wrong."""
    return start()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command with --json; return what it tells. Its status is 0, or any where it is None."""

    def run(*arguments: object, status: int | None = 0) -> Any:
        capsys.readouterr()
        ended = main([*map(str, arguments), "--json"])
        assert status is None or ended == status, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run
