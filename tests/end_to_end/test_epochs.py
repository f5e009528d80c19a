"""Message numbers over restarts and failovers: which URIs hold, and which end at once."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.clusters import RedisCluster
from tests.conformance.streaming import SSE
from tests.end_to_end.alone import Alone
from tests.end_to_end.conftest import Client, name, parked, text, until
from tests.end_to_end.writers import uris
from tests.nodes import Cluster
from tests.servers import Server, start_replica, start_server

Clients = Callable[[Cluster], Client]


def asynclet(client: Client, pipe: str, node: int | None = None) -> str:
    """The URI that a pipe says will be its next message's."""
    return uris(client, pipe, node)[-1]


def test_uris_hold_over_an_orderly_restart_of_the_embedded_server(
    client_of: Clients, tmp_path: Path
) -> None:
    with Alone(tmp_path) as cluster:
        client = client_of(cluster)
        empty, full = client.new_pipe(), client.new_pipe()
        client.publish(name(full), "one")
        for how in (signal.SIGINT, signal.SIGTERM, None):
            if how:
                cluster.again(how)
            else:
                cluster.nodes[0].kill()  # but not its server, which the next one ends in order
                cluster.nodes = [cluster.started()]
            assert name(asynclet(client, empty)) == f"{name(empty)}-1"
            assert text(client.send("GET", f"{full}-1")) == "one"
        wait = client.later("GET", f"{empty}-1")
        client.publish(name(empty), "two")
        client.publish(name(full), "three")
        assert text(wait.result(10)) == "two"
        assert text(client.send("GET", f"{full}-2")) == "three"


def test_after_a_kill_the_numbers_of_what_may_be_lost_are_never_used_again(
    client_of: Clients, tmp_path: Path
) -> None:
    with Alone(tmp_path) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        client.publish(name(pipe), "one")
        cluster.again(signal.SIGKILL)
        assert client.send("GET", f"{pipe}-2").status_code == 404
        following = asynclet(client, pipe)
        client.publish(name(pipe), "two")
        assert text(client.send("GET", following)) == "two"
        assert text(client.send("GET", f"{pipe}-1")) == "one"
        assert client.send("GET", f"{pipe}-2").status_code == 404


def test_a_backup_that_is_put_back_does_not_use_numbers_again(
    client_of: Clients, tmp_path: Path
) -> None:
    with Alone(tmp_path) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        cluster.end(signal.SIGINT)
        shutil.copytree(tmp_path / "data", tmp_path / "backup")
        cluster.nodes = [cluster.started()]
        client.publish(name(pipe), "lost")
        cluster.end(signal.SIGINT)
        shutil.rmtree(tmp_path / "data")
        (tmp_path / "backup").rename(tmp_path / "data")
        cluster.nodes = [cluster.started()]
        assert client.send("GET", f"{pipe}-1").status_code == 404
        client.publish(name(pipe), "new")
        assert client.send("GET", f"{pipe}-1").status_code == 404


@contextmanager
def failing_over(tmp_path: Path) -> Iterator[tuple[Cluster, Server, Callable[[], None]]]:
    """Nodes on a primary; its replica; and what cuts that off, as if it lagged from then on."""
    for directory in ("one", "two"):
        (tmp_path / directory).mkdir()
    primary = start_server(tmp_path / "one", tcp=True)
    replica = start_replica(tmp_path / "two", primary)

    def cut_off() -> None:
        with primary.client() as asked, replica.client() as client:
            asked.set("restms:all", "")
            assert asked.wait(1, 10_000) == 1
            client.replicaof("NO", "ONE")

    try:
        with Cluster(2, "--reread-seconds", "60", redis=primary) as cluster:
            yield cluster, replica, cut_off
    finally:
        primary.close()
        replica.close()


def take_over(primary: Server, replica: Server) -> None:
    """The primary dies, and the replica is found in its place."""
    primary.kill()
    with replica.client() as client:
        client.config_set("port", primary.port)


def test_a_failover_that_loses_messages_ends_waits_and_uses_no_number_again(
    client_of: Clients, tmp_path: Path
) -> None:
    with failing_over(tmp_path) as (cluster, replica, cut_off):
        client = client_of(cluster)
        pipe, streamed = client.new_pipe(), client.new_pipe()
        for one in (pipe, streamed):
            client.publish(name(one), "kept")
        cut_off()
        for one in (pipe, streamed):
            client.publish(name(one), "lost")
        wait = client.later("GET", f"{pipe}-3", node=0)
        parked(cluster, pipe)
        stream = cluster.urls[1] + urlsplit(streamed).path
        with client._http.stream("GET", stream, headers={"Accept": SSE}) as answer:
            lines = (line for line in answer.iter_lines() if line.startswith("id:"))
            told = [next(lines) for _ in range(2)]
            take_over(cluster.redis, replica)  # type: ignore[arg-type]
            assert wait.result(10).status_code == 404
            assert client.send("GET", f"{pipe}-2").status_code == 404
            assert text(client.send("GET", f"{pipe}-1")) == "kept"
            following = asynclet(client, pipe)
            client.publish(name(pipe), "new")
            assert text(client.send("GET", following)) == "new"
            for number in (2, 3):
                assert client.send("GET", f"{pipe}-{number}").status_code == 404
            # The stream goes on by itself, with what is new to its reader.
            client.publish(name(streamed), "new")
            assert name(next(lines)) == name(uris(client, streamed)[-2])
            assert [line.rpartition("-")[2] for line in told] == ["1", "2"]


def test_nodes_that_come_to_the_new_primary_one_by_one_agree(
    client_of: Clients, tmp_path: Path
) -> None:
    with failing_over(tmp_path) as (cluster, replica, cut_off):
        client = client_of(cluster)
        pipe = client.new_pipe()
        cut_off()
        cluster.nodes[1].pause()
        take_over(cluster.redis, replica)  # type: ignore[arg-type]
        until(lambda: client.send("GET", "/readyz", node=0).status_code == 200)
        following = asynclet(client, pipe, node=0)
        cluster.nodes[1].resume()
        until(lambda: client.send("GET", "/readyz", node=1).status_code == 200)
        client.publish(name(pipe), "new", node=1)
        assert text(client.send("GET", following, node=0)) == "new"


def test_a_failover_in_a_redis_cluster_is_one_of_those(client_of: Clients) -> None:
    with RedisCluster() as shards, Cluster(2, "--reread-seconds", "60", redis=shards) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        client.publish(name(pipe), "kept")
        with shards.client() as asked:
            asked.set("restms:{default}:written", "", px=60_000)
            assert asked.wait(1, 10_000) == 1
        wait = client.later("GET", f"{pipe}-2", node=0)
        shards.primary("default").kill()
        shards.until_served("default")
        assert wait.result(20).status_code == 404
        until(lambda: client.send("GET", f"{pipe}-1").status_code == 200)
        following = asynclet(client, pipe)
        client.publish(name(pipe), "new")
        assert text(client.send("GET", following)) == "new"
        assert client.send("GET", f"{pipe}-2").status_code == 404
