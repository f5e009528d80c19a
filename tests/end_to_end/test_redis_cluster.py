"""Two nodes on a Redis Cluster: domains spread over its shards, which fail over and move."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.clusters import RedisCluster, domains_apart
from tests.end_to_end.conftest import Client, text, until
from tests.end_to_end.writers import Writer, check_told, new_pipe, parked, publish, publish_at_last
from tests.nodes import Cluster
from tests.servers import Server, find_binary

Clients = Callable[[Cluster], Client]

FIRST, SECOND, THIRD = domains_apart(3)
# A wait that nothing but a hint can end in time: it would read by itself after a minute only.
HINTS_ONLY = ("--reread-seconds", "60")


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nodes") / "restms.toml"
    names = ("default", FIRST, SECOND, THIRD)
    path.write_text("\n".join(f'[[domain]]\nname = "{name}"' for name in names))
    return path


@pytest.fixture(scope="module")
def shards() -> Iterator[RedisCluster]:
    with RedisCluster() as shards:
        yield shards


@pytest.fixture(scope="module")
def cluster(shards: RedisCluster, configuration: Path) -> Iterator[Cluster]:
    options = ("--config", str(configuration), *HINTS_ONLY, "--sweep-seconds", "1")
    with Cluster(1, *options, redis=shards) as cluster:
        cluster.add("--no-lane")
        yield cluster


def ready(client: Client) -> None:
    for node in range(2):
        until(lambda node=node: client.send("GET", "/readyz", node=node).status_code == 200)


def check_wait(client: Client, shards: RedisCluster, domain: str) -> None:
    """A wait on one node ends when a message is posted to the other."""
    pipe = new_pipe(client, domain)
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(shards, domain, pipe)
    assert publish(client, domain, pipe, "hello", node=1).status_code == 200
    assert text(wait.result(10)) == "hello"
    assert client.send("DELETE", f"{pipe}-1").status_code == 200


def test_domains_live_on_different_shards(client: Client, shards: RedisCluster) -> None:
    primaries = [shards.primary(domain) for domain in (FIRST, SECOND, THIRD)]
    assert primaries == shards.servers[:3]
    for domain in (FIRST, SECOND, THIRD):
        check_wait(client, shards, domain)
    for domain, primary in zip((FIRST, SECOND, THIRD), primaries, strict=True):
        with primary.client() as server:
            ours = {key.partition(b"}")[0] for key in server.keys("restms:*")}
        assert f"restms:{{{domain}".encode() in ours
        assert len(ours) == (2 if shards.primary("default") is primary else 1)
    ready(client)


def test_a_failover_in_order_is_followed(client: Client, shards: RedisCluster) -> None:
    pipe = new_pipe(client, FIRST)
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(shards, FIRST, pipe)
    with Writer(client, FIRST) as writer:
        until(lambda: writer.taken)
        shards.fail_over(FIRST)
        seen = len(writer.taken)
        until(lambda: len(writer.taken) > seen + 20)
    assert set(writer.taken) <= set(writer.stored())
    publish_at_last(client, FIRST, pipe, "after it")
    check_told(client, wait, pipe, "after it")
    check_wait(client, shards, FIRST)
    ready(client)


def test_a_killed_primary_is_replaced_under_a_wait(client: Client, shards: RedisCluster) -> None:
    pipe = new_pipe(client, SECOND)
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(shards, SECOND, pipe)
    killed = shards.primary(SECOND)
    killed.kill()
    try:
        # What lives elsewhere is not touched by it.
        assert publish(client, THIRD, new_pipe(client, THIRD), "beside").status_code == 200
        shards.until_served(SECOND)
        publish_at_last(client, SECOND, pipe, "after it")
        check_told(client, wait, pipe, "after it")
        check_wait(client, shards, SECOND)
        ready(client)
    finally:
        killed.start()


def test_a_frozen_primary_is_left_and_not_gone_back_to(
    client: Client, shards: RedisCluster
) -> None:
    """It comes back as one that takes itself for the primary still."""
    pipe = new_pipe(client, THIRD)
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(shards, THIRD, pipe)
    until(lambda: shards.replicas(THIRD))
    frozen = shards.primary(THIRD)
    frozen.pause()
    try:
        shards.until_served(THIRD)
        publish_at_last(client, THIRD, pipe, "after it")
        check_told(client, wait, pipe, "after it")
    finally:
        frozen.resume()
    with Writer(client, THIRD) as writer:
        until(lambda: _role(frozen) == b"slave")
        until(lambda: len(writer.taken) > 20)
    assert writer.stored() == writer.taken


@pytest.mark.skipif("redis-server" in find_binary().name, reason="Only Valkey moves slots at once.")
def test_a_slot_that_moves_at_once_costs_no_request(client: Client, shards: RedisCluster) -> None:
    pipe = new_pipe(client, FIRST)
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(shards, FIRST, pipe)
    home, other = shards.primary(FIRST), shards.primary(SECOND)
    with Writer(client, FIRST) as writer:
        for target in (other, home, other):
            seen = len(writer.taken)
            shards.move(FIRST, target)
            until(lambda seen=seen: len(writer.taken) > seen + 20)
    assert writer.refused == []
    assert writer.stored() == writer.taken
    assert publish(client, FIRST, pipe, "at the new place", node=1).status_code == 200
    check_told(client, wait, pipe, "at the new place")
    shards.move(FIRST, home)
    check_wait(client, shards, FIRST)
    ready(client)


def test_a_slot_that_moves_key_by_key_is_refused_meanwhile(
    client: Client, shards: RedisCluster
) -> None:
    """Nothing is done by halves: what is refused has left no trace, and nothing is lost."""
    home, other = shards.primary(FIRST), shards.primary(SECOND)
    pipe = new_pipe(client, FIRST)
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(shards, FIRST, pipe)
    with Writer(client, FIRST) as writer:
        until(lambda: len(writer.taken) > 20)
        shards.begin_move(FIRST, other)
        seen = len(writer.refused)
        until(lambda: len(writer.refused) > seen + 20)
        assert publish(client, SECOND, new_pipe(client, SECOND), "beside").status_code == 200
        while shards.move_keys(FIRST, other, 3):
            pass
        shards.end_move(FIRST, other)
        seen = len(writer.taken)
        until(lambda: len(writer.taken) > seen + 20)
    assert writer.stored() == writer.taken
    publish_at_last(client, FIRST, pipe, "at the new place")
    check_told(client, wait, pipe, "at the new place")
    check_wait(client, shards, FIRST)
    shards.begin_move(FIRST, home)
    while shards.move_keys(FIRST, home, 1000):
        pass
    shards.end_move(FIRST, home)


def test_published_hints_and_a_shard_that_is_lost_for_good(
    client_of: Clients, configuration: Path
) -> None:
    user = ["default", "on", "nopass", "~*", "&*", "+@all", "-config"]
    with (
        RedisCluster(3, 0, "--user", *user) as shards,
        Cluster(2, "--config", str(configuration), *HINTS_ONLY, redis=shards) as cluster,
    ):
        client = client_of(cluster)
        for domain in (FIRST, SECOND, THIRD):
            check_wait(client, shards, domain)
        ready(client)
        shards.primary(THIRD).kill()
        until(lambda: client.send("GET", "/readyz", node=0).status_code == 503)


def _role(server: Server) -> bytes:
    with server.client() as client:
        try:
            return bytes(client.role()[0])
        except redis.ConnectionError:
            return b""
