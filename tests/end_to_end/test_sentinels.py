"""Two nodes on a primary that Sentinels watch: it is killed, replaced in order, or frozen."""

from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.conftest import Client, text, until
from tests.end_to_end.writers import Writer, check_told, new_pipe, parked, publish_at_last, uris
from tests.nodes import Cluster
from tests.sentinels import Sentinels

Clients = Callable[[Cluster], Client]


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    """With a replica for each test to lose."""
    with Sentinels(replicas=3) as sentinels:
        yield sentinels


@pytest.fixture(scope="module")
def cluster(sentinels: Sentinels) -> Iterator[Cluster]:
    # A wait that nothing but a hint can end in time: it would read by itself after a minute only.
    with Cluster(1, "--reread-seconds", "60", redis=sentinels) as cluster:
        cluster.add("--no-lane")
        yield cluster


def test_a_living_primary_is_left_when_another_takes_its_place(
    client: Client, cluster: Cluster, sentinels: Sentinels
) -> None:
    """The old one goes on as a primary for seconds, until the Sentinels tell it."""
    sentinels.fail_over()
    for node in cluster.nodes:
        until(lambda node=node: f"now on {sentinels.primary().url}" in node.log())
    with Writer(client, "default") as writer:
        until(lambda: len(writer.taken) > 20)
    assert writer.stored() == writer.taken
    assert writer.refused == []


def test_a_killed_primary_is_replaced_under_a_wait(client: Client, sentinels: Sentinels) -> None:
    pipe = new_pipe(client, "default")
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(sentinels, "default", pipe)
    sentinels.until_replicated()
    killed = sentinels.primary()
    killed.kill()
    sentinels.until_switched(killed)
    publish_at_last(client, "default", pipe, "after it")
    check_told(client, wait, pipe, "after it")
    # Hints come from the new primary.
    following = uris(client, pipe)[-1]
    wait = client.later("GET", following, node=1)
    parked(sentinels, "default", pipe)
    publish_at_last(client, "default", pipe, "again")
    assert text(wait.result(10)) == "again"
    assert client.send("DELETE", following).status_code == 200
    until(lambda: client.send("GET", "/readyz").status_code == 200)


def test_what_a_frozen_primary_does_when_it_comes_back_does_not_matter(
    client: Client, sentinels: Sentinels
) -> None:
    """It takes itself for the primary still, and would take messages that nobody ever sees."""
    pipe = new_pipe(client, "default")
    wait = client.later("GET", f"{pipe}-1", node=0)
    parked(sentinels, "default", pipe)
    sentinels.until_replicated()
    frozen = sentinels.primary()
    frozen.pause()
    sentinels.until_switched(frozen)
    # What hangs at the old one is given up as soon as there is a new one, not after
    # the 10 seconds that an answer may take.
    publish_at_last(client, "default", pipe, "after it", seconds=5)
    check_told(client, wait, pipe, "after it")
    with Writer(client, "default") as writer:
        frozen.resume()
        until(lambda: len(writer.taken) > 50)
    assert writer.stored() == writer.taken
    with frozen.client() as server:
        until(lambda: not [one for one in server.client_list() if one["name"] == "restms"])


def test_one_sentinel_is_enough_and_nobody_waits_for_those_that_hang(
    sentinels: Sentinels, client_of: Clients
) -> None:
    sentinels.sentinels[0].kill()
    sentinels.sentinels[1].pause()
    with Cluster(1, redis=sentinels) as cluster:
        client = client_of(cluster)
        pipe = new_pipe(client, "default")
        publish_at_last(client, "default", pipe, "hello")
        assert text(client.send("GET", f"{pipe}-1")) == "hello"
