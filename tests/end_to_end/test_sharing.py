"""Readers who share a feed's work, on several nodes, and the end of some of them."""

import re
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from tests.end_to_end.conftest import Client, parked, text, until
from tests.nodes import Cluster

Clients = Callable[[Cluster], Client]
TURNS = "restms:{default}:index:*:turns"


def new_feed(client: Client, name: str, kind: str = "rotator") -> str:
    document = f'<restms><feed name="{name}" type="{kind}"/></restms>'
    answer = client.send("POST", "/restms/domain/default", document)
    assert answer.status_code in (200, 201), answer.text
    return name


def new_worker(client: Client, feed: str, kind: str = "ondemand") -> str:
    document = f'<restms><pipe type="{kind}"/></restms>'
    pipe = client.send("POST", "/restms/domain/default", document).headers["location"]
    join = f'<restms><join feed="/restms/feed/{feed}"/></restms>'
    assert client.send("POST", pipe, join).status_code == 201
    return str(pipe)


def waiting(cluster: Cluster, readers: int) -> None:
    """Wait until so many readers would be called for a message."""
    with cluster.redis.client() as redis:
        until(lambda: sum(redis.zcard(key) for key in redis.keys(TURNS)) == readers)


def test_each_message_goes_to_one_of_many_who_wait_on_different_nodes(client_of: Clients) -> None:
    with Cluster(2, "--reread-seconds", "60") as cluster:
        client = client_of(cluster)
        feed = new_feed(client, "jobs")
        pipes = [new_worker(client, feed) for _ in range(10)]
        waits = {pipe: client.later("GET", f"{pipe}-1", node=n % 2) for n, pipe in enumerate(pipes)}
        waiting(cluster, len(pipes))
        client.publish("", *[f"job {n}" for n in range(10)], feed=feed)
        got = sorted(text(wait.result(10)) for wait in waits.values())
        assert got == [f"job {n}" for n in range(10)]


def test_readers_share_fairly_and_nothing_is_lost_or_done_twice(client_of: Clients) -> None:
    with Cluster(2, "--reread-seconds", "60") as cluster:
        client = client_of(cluster)
        feed = new_feed(client, "jobs")
        pipes = [new_worker(client, feed) for _ in range(5)]
        jobs, done = 100, []
        counts: Counter[str] = Counter()

        def work(pipe: str) -> None:
            number = 1
            while True:
                answer = client.send("GET", f"{pipe}-{number}", prefer="wait=2")
                if answer.status_code == 204:
                    return
                done.append(int(text(answer)))
                counts[pipe] += 1
                assert client.send("DELETE", f"{pipe}-{number}").status_code == 200
                number += 1

        workers = [client._threads.submit(work, pipe) for pipe in pipes]
        for job in range(jobs):
            waiting(cluster, len(pipes))  # all are free, so all are to have the same share
            client.publish("", str(job), feed=feed)
        for worker in workers:
            worker.result(30)
        assert sorted(done) == list(range(jobs))
        assert set(counts.values()) == {jobs // len(pipes)}


def test_readers_of_a_killed_node_are_passed_over(client_of: Clients) -> None:
    with Cluster(2, "--reread-seconds", "60") as cluster:
        client = client_of(cluster)
        feed = new_feed(client, "jobs")
        lost, other = new_worker(client, feed), new_worker(client, feed)
        doomed = client.later("GET", f"{lost}-1", node=0)
        waiting(cluster, 1)
        wait = client.later("GET", f"{other}-1", node=1)
        waiting(cluster, 2)
        cluster.nodes[0].kill()
        with pytest.raises(httpx.TransportError):
            doomed.result(10)
        client.publish("", "first", "second", feed=feed, node=1)
        assert text(wait.result(10)) == "first"  # and not what the dead one was called for
        assert client.send("DELETE", f"{other}-1", node=1).status_code == 200
        assert text(client.send("GET", f"{other}-2", node=1)) == "second"


def test_a_reader_that_gave_up_is_not_waited_for(client_of: Clients) -> None:
    with Cluster(2, "--reread-seconds", "60") as cluster:
        client = client_of(cluster)
        feed = new_feed(client, "jobs")
        gone, other = new_worker(client, feed), new_worker(client, feed)
        assert client.send("GET", f"{gone}-1", prefer="wait=1").status_code == 204
        with httpx.Client() as leaving, pytest.raises(httpx.ReadTimeout):
            leaving.get(f"{cluster.urls[0]}{re.sub('^http://[^/]+', '', gone)}-1", timeout=0.5)
        waiting(cluster, 0)
        wait = client.later("GET", f"{other}-1")
        waiting(cluster, 1)
        client.publish("", "for who is there", feed=feed)
        assert text(wait.result(10)) == "for who is there"


def test_what_a_dead_worker_held_goes_to_another_who_waits(client_of: Clients) -> None:
    options = ("--reread-seconds", "60", "--idle-seconds", "2", "--sweep-seconds", "0.2")
    with Cluster(2, *options) as cluster:
        client = client_of(cluster)
        feed = new_feed(client, "jobs", "rotator")
        dead = new_worker(client, feed)
        client.publish("", "a", "b", feed=feed)
        assert text(client.send("GET", f"{dead}-1")) == "a"
        alive = new_worker(client, feed)
        assert text(client.send("GET", f"{alive}-1")) == "b"
        client.send("DELETE", f"{alive}-1")
        # Nobody uses the dead worker's pipe any more; waiting is a use of the other.
        back = client.send("GET", f"{alive}-2")
        assert text(back) == "a"
        assert 'redelivered="1"' in back.text
        assert client.send("GET", dead).status_code == 404


@pytest.mark.parametrize("published", [False, True], ids=["none", "published"])
def test_readers_share_without_keyspace_events(client_of: Clients, published: bool) -> None:
    """Hints that are lost cost time only; those that the scripts publish do as well."""
    with Cluster(2, "--reread-seconds", "1") as cluster:
        with cluster.redis.client() as redis:
            redis.config_set("notify-keyspace-events", "")
            if published:
                redis.set("restms:{default}:hints", 1, px=60_000)
        client = client_of(cluster)
        feed = new_feed(client, "jobs")
        pipes = [new_worker(client, feed) for _ in range(4)]
        waits = [client.later("GET", f"{pipe}-1") for pipe in pipes]
        waiting(cluster, len(pipes))
        client.publish("", *"abcd", feed=feed)
        assert sorted(text(wait.result(15)) for wait in waits) == list("abcd")


def test_a_waiting_reader_gets_a_delayed_message_at_its_time(client_of: Clients) -> None:
    with Cluster(2, "--reread-seconds", "60") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        wait = client.later("GET", f"{pipe}-1", node=0)
        parked(cluster, pipe)
        delayed = f'<message address="{pipe.rpartition("/")[2]}" delay="500"/>'
        began = client.send("POST", "/restms/feed/default", f"<restms>{delayed}</restms>", node=1)
        assert 'count="0"' in began.text
        assert wait.result(10).elapsed.total_seconds() >= 0.5


def test_delayed_messages_are_fired_by_who_is_left(client_of: Clients) -> None:
    with Cluster(2) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        address = pipe.rpartition("/")[2]
        messages = "".join(
            f'<message address="{address}" delay="{300 * n}"><content>{n}</content></message>'
            for n in range(1, 11)
        )
        client.send("POST", "/restms/feed/default", f"<restms>{messages}</restms>", node=0)
        assert text(client.send("GET", f"{pipe}-1", node=1)) == "1"
        cluster.nodes[0].kill()
        got = [text(client.send("GET", f"{pipe}-{n}", node=1)) for n in range(1, 11)]
        assert got == [str(n) for n in range(1, 11)]
