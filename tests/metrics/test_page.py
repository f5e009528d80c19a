"""The page itself: its formats, who may read it, and where it is."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from restms_node.metrics_server import MOST_CONNECTIONS
from restms_node.metrics_table import FAMILIES, Kind
from restms_node.version import VERSION
from tests.end_to_end.test_rules import World as Keys
from tests.end_to_end.test_workers import workers
from tests.metrics.scrapes import check_nothing_falls, scrape
from tests.nodes import Cluster, Node
from tests.waiting import wait_until

CONFIG = """
[[authenticator]]
type = "keys"
file = "keys"

[[rule]]
principal = "prometheus"
verbs = ["inspect"]
domain = "*"
feed = "*"

[[rule]]
principal = "guest"
verbs = ["configure", "publish", "subscribe"]
domain = "default"
feed = "*"
"""
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_it_is_in_the_text_format_of_prometheus(urls: list[str]) -> None:
    for url in urls:
        answer = httpx.get(f"{url}/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        told = scrape(url)
        assert {family.name for family in told.families} <= {
            family.name.removesuffix("_total") for family in FAMILIES
        }
        assert told.value("restms_build_info", version=VERSION) == 1
        assert told.value("restms_draining") == 0
        assert told.value("process_cpu_seconds_total") > 0


def test_or_in_openmetrics(urls: list[str]) -> None:
    for url in urls:
        answer = httpx.get(f"{url}/metrics", headers={"accept": OPEN_METRICS})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        found = {family.name: family.type for family in text_string_to_metric_families(answer.text)}
        assert found["restms_messages_received"] == "counter"
        assert found["restms_waits"] == "gauge"
        assert found["restms_wait_duration_seconds"] == "histogram"


def test_it_is_only_read(urls: list[str]) -> None:
    for url in urls:
        head = httpx.head(f"{url}/metrics")
        assert (head.status_code, head.content) == (200, b"")
        assert httpx.options(f"{url}/metrics").headers["allow"] == "GET, HEAD, OPTIONS"
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert httpx.request(method, f"{url}/metrics").status_code == 403


def test_names_and_units_follow_the_conventions() -> None:
    for family in FAMILIES:
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert bool(family.bounds) == (family.kind is Kind.HISTOGRAM)
        assert family.bounds == tuple(sorted(family.bounds))
        assert re.fullmatch("(restms|process)_[a-z_]+", family.name)
        assert family.help.endswith(".")


@dataclass
class World:
    """Nodes that know who comes in: the first has metrics on its main address, the second apart."""

    cluster: Cluster
    keys: dict[str, str]

    def get(self, url: str, by: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[by]}"} if by else {}
        return httpx.get(url, headers=headers)


def metrics_of(node: Node) -> str:
    """Where a node says that its metrics are."""
    found = re.search(r"metrics are on (http://\S+)/metrics", node.log())
    assert found, node.log()
    return found[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("metrics")
    config: Path = directory / "restms.toml"
    config.write_text(CONFIG)
    keys = Keys(None, directory, {})  # type: ignore[arg-type]
    made = {who: keys.key(who) for who in ("prometheus", "guest")}
    # By its address this machine can be asked whatever the hosts.
    options = ("--config", str(config), "--hosts", "broker.example", "--request-rate", "3/60s")
    with Cluster(1, *options) as cluster:
        cluster.add("--metrics-bind", "127.0.0.1:0", "--workers", "2", "--request-rate", "off")
        yield World(cluster, made)


def test_with_authenticators_it_is_for_who_may_inspect_all_domains(world: World) -> None:
    url = f"{world.cluster.urls[0]}/metrics"
    assert world.get(url).status_code == 401
    assert world.get(url, "guest").status_code == 403
    assert httpx.get(url, headers={"host": "page.example"}).status_code == 421
    for _ in range(5):  # it does not count to what one may do in a time
        assert world.get(url, "prometheus").status_code == 200
    assert "/metrics" in httpx.get(f"{world.cluster.urls[0]}/openapi.json").json()["paths"]


def test_on_an_address_of_its_own_it_is_open_and_nothing_else_is_there(world: World) -> None:
    node = world.cluster.nodes[1]
    url = metrics_of(node)
    assert scrape(url).value("restms_build_info") == 1
    assert httpx.post(f"{url}/metrics").status_code == 403
    for path in ("/", "/restms/domain/default", "/livez", "/metrics/x"):
        assert httpx.get(url + path).status_code == 404
    assert "/metrics" not in httpx.get(f"{node.url}/openapi.json").json()["paths"]
    # There it is as any other path where nothing is.
    assert world.get(f"{node.url}/metrics", "prometheus").status_code == 404


def test_who_opens_connections_there_takes_only_so_many(world: World) -> None:
    place = urlsplit(metrics_of(world.cluster.nodes[1]))
    with ExitStack() as open_ones:
        for _ in range(MOST_CONNECTIONS):
            open_ones.enter_context(socket.create_connection((place.hostname, place.port)))
        assert httpx.get(f"{place.geturl()}/metrics").status_code == 503
    wait_until(lambda: httpx.get(f"{place.geturl()}/metrics").status_code == 200)


def test_a_worker_that_hangs_counts_with_what_it_said_last(world: World) -> None:
    node = world.cluster.nodes[1]
    url = metrics_of(node)  # its first process serves them
    before = scrape(url)
    assert before.value("restms_redis_connected") == 1
    hanging = min(workers(node))
    os.kill(hanging, signal.SIGSTOP)
    try:
        check_nothing_falls(before, scrape(url))
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_or_it_is_nowhere(cluster: Cluster) -> None:
    node = cluster.add("--metrics-bind", "off")
    try:
        assert httpx.get(f"{node.url}/metrics").status_code == 404
        assert httpx.get(f"{node.url}/livez").status_code == 200
        assert "metrics" not in node.log()
    finally:
        cluster.nodes.remove(node)
        node.close()
