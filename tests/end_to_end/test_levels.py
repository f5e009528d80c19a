"""Levels of durability as publishers see them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import Client, name
from tests.nodes import Cluster
from tests.servers import Server, start_replica, start_server

Clients = Callable[[Cluster], Client]

CONFIG = """
replica_seconds = 0.2

[[domain]]
name = "default"

  [[domain.feed]]
  name = "orders"
  type = "fanout"
  durability = "replicas"

  [[domain.feed]]
  name = "news"
  type = "fanout"
"""
MESSAGE = "<restms><message/></restms>"
SEQUENCE = b"\xa1\x67address\x61a" * 2  # two items of CBOR


@contextmanager
def replicated(tmp_path: Path) -> Iterator[tuple[Cluster, Server]]:
    """Two nodes with that configuration, on a primary that has a replica."""
    (tmp_path / "replica").mkdir()
    (tmp_path / "restms.toml").write_text(CONFIG)
    primary = start_server(tmp_path, tcp=True)
    replica = start_replica(tmp_path / "replica", primary)
    try:
        with Cluster(2, "--config", str(tmp_path / "restms.toml"), redis=primary) as cluster:
            yield cluster, replica
    finally:
        primary.close()
        replica.close()


def post(client: Client, feed: str, body: str | bytes = MESSAGE, **how: str) -> httpx.Response:
    return client.send("POST", f"/restms/feed/{feed}", body, **how)


def test_publishers_are_told_what_their_messages_have_survived(
    client_of: Clients, tmp_path: Path
) -> None:
    with replicated(tmp_path) as (cluster, replica):
        client = client_of(cluster)
        pipe = client.new_pipe()
        for feed in ("orders", "news"):
            joined = client.send(
                "POST", pipe, f'<restms><join feed="/restms/feed/{feed}"/></restms>'
            )
            assert joined.status_code == 201
        for _ in cluster.nodes:
            assert post(client, "orders").headers["restms-durability"] == "replicas"
            assert "restms-durability" not in post(client, "news").headers
        streamed = post(client, "orders", SEQUENCE, Content_Type="application/cbor-seq")
        assert (streamed.headers["restms-routed"], streamed.headers["restms-durability"]) == (
            "2",
            "replicas",
        )

        replica.pause()
        for _ in cluster.nodes:
            late = post(client, "orders", Idempotency_Key="one")
            assert (late.status_code, late.headers["restms-error"]) == (503, "too_few_replicas")
            assert post(client, "news").status_code == 200
        streamed = post(client, "orders", SEQUENCE, Content_Type="application/cbor-seq")
        assert streamed.status_code == 503
        assert streamed.headers["restms-error"] == "too_few_replicas"
        assert streamed.headers["restms-routed"] == "0"
        replica.resume()
        assert post(client, "orders", Idempotency_Key="one").status_code == 200
        messages = client.send("GET", pipe).text.count("<message ")
        assert messages == 4 + 2 + 1 + 2 + 2 + 1, (
            f"{name(pipe)} has them all once, and the asynclet"
        )


def test_the_embedded_server_keeps_what_it_can(tmp_path: Path) -> None:
    own = ("--redis", "", "--data-dir", str(tmp_path / "data"))
    with Cluster(1) as cluster:
        node = cluster.add(*own, "--durability", "disk")
        answer = httpx.post(
            f"{node.url}/restms/feed/default", content=MESSAGE, headers={"Content-Type": "text/xml"}
        )
        assert answer.headers["restms-durability"] == "disk"
        with pytest.raises(RuntimeError, match="has no replicas"):
            cluster.add(*own, "--durability", "replicas")
        with pytest.raises(RuntimeError, match="appendonly is not yes"):
            cluster.add("--durability", "disk+replicas")
