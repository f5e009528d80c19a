"""Redis that cannot write for now: out of memory, out of disk, out of connections."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from restms_cluster.scripts import Transition
from restms_cluster.transitions import FeedCreate, PipeCreate, PipeDelete
from tests.end_to_end.conftest import Client, name, text, until
from tests.leaks import BOUNDS, check_keys, run
from tests.nodes import Cluster
from tests.scripts.conftest import IDLE, PLAIN, joining, posting

Clients = Callable[[Cluster], Client]

FEED = "/restms/feed/default"
READERS = 600  # more than one call serves: the rest is handed out by the nodes, in chunks


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with Cluster(2, "--sweep-seconds", "0.2") as cluster:
        yield cluster


@contextmanager
def little_left(client: "redis.Redis[bytes]", margin: int) -> Iterator[None]:
    """For the time of a block there are only so many bytes left."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + margin)
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


def secrets() -> list[str]:
    return [f"{number:032x}" for number in range(1, READERS + 1)]


def told(cluster: Cluster) -> list[list[str]]:
    """The message_ids that each pipe holds."""
    with cluster.redis.client() as client:
        keys = [f"restms:{{default}}:pipe:{secret}:messages" for secret in secrets()]
        return [[fields[b"i"].decode() for _, fields in client.xrange(key)] for key in keys]


def ready(client: Client) -> set[int]:
    return {client.send("GET", "/readyz", node=node).status_code for node in (0, 1)}


def refused(client: Client, pipe: str) -> None:
    """Every node refuses a message, plainly."""
    for node in (0, 1):
        body = f'<restms><message address="{name(pipe)}"/></restms>'
        answer = client.send("POST", FEED, body, node=node)
        assert answer.status_code == 503, answer.text
        assert answer.headers["restms-error"] == "state_unavailable"
        assert int(answer.headers["retry-after"]) > 0


def accepted(client: Client, pipe: str) -> bool:
    body = f'<restms><message address="{name(pipe)}"/></restms>'
    return {client.send("POST", FEED, body, node=node).status_code for node in (0, 1)} == {200}


def test_what_was_taken_is_handed_out_where_no_memory_is_left(
    nodes: Cluster, client_of: Clients
) -> None:
    with nodes.redis.client() as redis:

        def do(transition: Transition) -> None:
            assert run(redis, transition)[0] == "ok"

        for feed, kind in (("wide", "fanout"), ("turns", "rotator")):
            do(FeedCreate("default", feed, kind, "", "", "", "", 1000))
        for number, secret in enumerate(secrets(), READERS):
            do(PipeCreate("default", secret, f"p{secret}", secret, "", "", 10_000, IDLE))
            do(joining(secret, f"{number:031x}a", "wide"))
        for secret in secrets()[:2]:
            do(joining(secret, f"{secret[1:]}b", "turns"))
        for node in nodes.nodes:
            node.pause()
        for number in range(3):
            do(posting("wide", ("", f"w{number}", PLAIN)))
        do(posting("wide", ("", "later", PLAIN, "", "", "- 0 +1")))
        do(posting("turns", *[("", f"t{n}", PLAIN, "", "", "- 0 +1") for n in range(4)]))
        with little_left(redis, -1):
            for node in nodes.nodes:
                node.resume()
            until(lambda: all("later" in held for held in told(nodes)))
            until(lambda: sum(map(len, told(nodes)[:2])) == 2 * 4 + 4)
            held = told(nodes)
            assert [one for one in held[2:] if one != ["w0", "w1", "w2", "later"]] == []
            turned = [one for held in held[:2] for one in held if one.startswith("t")]
            assert sorted(turned) == ["t0", "t1", "t2", "t3"]
            until(lambda: not redis.exists("restms:{default}:works", "restms:{default}:delayed"))
            client = client_of(nodes)
            for resource in (f"resource/p{secrets()[0]}", "feed/turns", "feed/wide"):
                assert client.send("DELETE", f"/restms/{resource}").status_code == 200
            for secret in secrets()[1:]:
                do(PipeDelete("default", secret, "", "", BOUNDS))
        until(lambda: not redis.keys("restms:{default}:body:*"))
        check_keys(redis)


def test_an_upload_that_finds_no_memory_leaves_none_of_its_chunks(
    nodes: Cluster, client_of: Clients
) -> None:
    client = client_of(nodes)
    pipe = client.new_pipe()
    client.publish(name(pipe), "m" * 500_000)
    client.publish(name(pipe), "small")
    with nodes.redis.client() as redis:
        before = len(redis.keys("restms:{default}:content:*"))
        with little_left(redis, 1_000_000):
            for node in (0, 1):
                answer = client.send("POST", FEED, b"s" * 4_000_000, node=node, Content_Type="a/b")
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) > 0
                until(lambda: len(redis.keys("restms:{default}:content:*")) == before)
        with little_left(redis, -1):
            refused(client, pipe)
            assert text(client.send("GET", f"{pipe}-2")) == "small"
            assert client.send("DELETE", f"{pipe}-1").status_code == 200
            until(lambda: accepted(client, pipe))  # what was acknowledged has made room
        assert client.send("DELETE", pipe).status_code == 200


def test_a_disk_that_fails_is_told_and_got_over(nodes: Cluster, client_of: Clients) -> None:
    client = client_of(nodes)
    pipe = client.new_pipe()
    with nodes.redis.client() as redis:

        def saved(status: str) -> None:
            redis.bgsave()

            def over() -> bool:
                info: dict[str, Any] = redis.info("persistence")
                return (
                    not info["rdb_bgsave_in_progress"] and info["rdb_last_bgsave_status"] == status
                )

            until(over)

        snapshot = (
            Path(redis.config_get("dir")["dir"]) / redis.config_get("dbfilename")["dbfilename"]
        )
        snapshot.mkdir()  # so that no snapshot can take its place
        redis.config_set("save", "3600 1000000")
        try:
            saved("err")
            refused(client, pipe)
            until(lambda: ready(client) == {503})
            snapshot.rmdir()
            saved("ok")
        finally:
            redis.config_set("save", "")
        until(lambda: ready(client) == {200})
        assert accepted(client, pipe)
        assert client.send("DELETE", pipe).status_code == 200


def test_a_redis_without_a_place_for_nodes_is_told_and_got_over(
    nodes: Cluster, client_of: Clients
) -> None:
    client = client_of(nodes)
    pipe = client.new_pipe()
    with nodes.redis.client() as redis:
        redis.config_set("maxclients", "1")
        try:
            redis.client_kill_filter(_type="pubsub")
            redis.client_kill_filter(_type="normal", skipme=True)
            refused(client, pipe)
            until(lambda: ready(client) == {503})
        finally:
            redis.config_set("maxclients", "1000")
        until(lambda: ready(client) == {200})
        assert accepted(client, pipe)
        assert client.send("DELETE", pipe).status_code == 200
