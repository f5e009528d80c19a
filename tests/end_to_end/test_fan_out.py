"""A message for very many pipes, and the death of the node that took it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from restms_cluster.scripts import Transition
from restms_cluster.transitions import PipeCreate
from tests.end_to_end.conftest import Client, name, until
from tests.leaks import LIBRARY
from tests.nodes import Cluster
from tests.scripts.conftest import joining

Clients = Callable[[Cluster], Client]
PIPES = 10_000
IDLE = 600_000
WORKS = "restms:{default}:works"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(2) as cluster:
        yield cluster


def secrets() -> list[str]:
    return [f"{number:032x}" for number in range(1, PIPES + 1)]


def run_all(cluster: Cluster, transitions: Iterator[Transition]) -> None:
    """Run many scripts behind the nodes' backs, where HTTP would take minutes."""
    with cluster.redis.client() as redis:
        pipeline: Any = redis.pipeline(transaction=False)
        for transition in transitions:
            digest = LIBRARY.digest(transition.script())
            pipeline.execute_command("EVALSHA", digest, *transition.arguments())
        assert all(word == b"ok" for word, *_ in pipeline.execute())


def subscribe_many(cluster: Cluster, client: Client) -> None:
    feed = '<restms><feed name="news" type="fanout"/></restms>'
    assert client.send("POST", "/restms/domain/default", feed).status_code == 201
    run_all(
        cluster,
        (PipeCreate("default", s, f"p{s}", s, "", "", 10 * PIPES, IDLE) for s in secrets()),
    )
    run_all(cluster, (joining(s, f"{n + PIPES:032x}", "news") for n, s in enumerate(secrets())))


def everybodys_messages(cluster: Cluster) -> list[list[str]]:
    with cluster.redis.client() as redis:
        pipeline: Any = redis.pipeline(transaction=False)
        for secret in secrets():
            pipeline.xrange(f"restms:{{default}}:pipe:{secret}:messages")
        return [[fields[b"i"].decode() for _, fields in held] for held in pipeline.execute()]


def served(cluster: Cluster) -> int:
    """How many pipes have got the first message."""
    with cluster.redis.client() as redis:
        for body in redis.keys("restms:{default}:body:*"):
            if redis.hget(body, "i") == b"1":
                return int(redis.hget(body, "n") or 0) - 1
    return 0


def test_a_fan_out_is_finished_by_another_node_when_its_own_is_killed(
    cluster: Cluster, client_of: Clients
) -> None:
    client = client_of(cluster)
    subscribe_many(cluster, client)
    first, second = cluster.nodes
    second.pause()  # so that it is the first that hands it out
    for number in ("1", "2"):
        message = f'<restms><message message_id="{number}"><content>x</content></message></restms>'
        answer = client.send("POST", "/restms/feed/news", message, node=0)
        assert (answer.status_code, answer.content) == (200, b"")
    until(lambda: served(cluster) > 0)
    first.kill()
    with cluster.redis.client() as redis:
        assert redis.exists(WORKS), "it was finished before the node was killed"
        second.resume()
        until(lambda: not redis.exists(WORKS))
    assert everybodys_messages(cluster) == [["1", "2"]] * PIPES


def test_others_go_on_while_a_fan_out_is_under_way(cluster: Cluster, client_of: Clients) -> None:
    client = client_of(cluster)
    subscribe_many(cluster, client)
    pipe = client.new_pipe()
    overtaken = 0
    for number in range(1, 6):
        batch = "<message><content>x</content></message>" * 3
        client.send("POST", "/restms/feed/news", f"<restms>{batch}</restms>")
        client.publish(name(pipe), str(number))
        assert client.send("GET", f"{pipe}-{number}").status_code == 200
        with cluster.redis.client() as redis:
            overtaken += redis.exists(WORKS)
    assert overtaken, "no fan-out was under way"
    with cluster.redis.client() as redis:
        until(lambda: not redis.exists(WORKS))
    assert [len(held) for held in everybodys_messages(cluster)] == [15] * PIPES
