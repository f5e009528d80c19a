"""What breaks, and what must not."""

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import Client, name, parked, text, until
from tests.nodes import Cluster

Clients = Callable[[Cluster], Client]


def test_sigterm_answers_the_waits_and_another_node_goes_on(client_of: Clients) -> None:
    with Cluster(2, "--drain-delay-seconds", "1") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        waits = [client.later("GET", f"{pipe}-1", node=0) for _ in range(10)]
        parked(cluster, pipe)
        until(lambda: client.send("GET", "/readyz", node=0).status_code == 200)
        began = time.monotonic()
        cluster.nodes[0].process.terminate()
        for wait in waits:
            answer = wait.result(5)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "0"
        # The port stays open for a moment, so that a balancer can see that the node is leaving.
        assert client.send("GET", "/readyz", node=0).status_code == 503
        assert client.send("GET", "/livez", node=0).status_code == 200
        late = client.send("GET", f"{pipe}-1", node=0)
        assert (late.status_code, late.headers["retry-after"]) == (503, "0")
        client.publish(name(pipe), "under way", node=0)
        assert cluster.nodes[0].ended() == 0
        assert time.monotonic() - began < 8
        assert text(client.send("GET", f"{pipe}-1", node=1)) == "under way"


def test_a_killed_node_loses_nothing_that_it_answered(client_of: Clients) -> None:
    with Cluster(2) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        answered: list[int] = []

        def publish() -> None:
            number = 0
            while True:
                try:
                    client.publish(name(pipe), str(number), node=0)
                except (httpx.TransportError, AssertionError):
                    return
                answered.append(number)
                number += 1

        writer = client._threads.submit(publish)
        until(lambda: len(answered) >= 20)
        cluster.nodes[0].kill()
        writer.result(10)
        texts = [text(client.send("GET", f"{pipe}-{n + 1}", node=1)) for n in answered]
        assert texts == [str(n) for n in answered]


def test_a_restart_of_redis_ends_a_wait_and_its_reader_goes_on(client_of: Clients) -> None:
    persistent = ("--appendonly", "yes", "--appendfsync", "always")
    with Cluster(2, "--reread-seconds", "60", redis_options=persistent) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        wait = client.later("GET", f"{pipe}-1", node=0)
        parked(cluster, pipe)
        cluster.redis.restart()
        # Redis may have lost a message of that number; nobody is to wait for another one.
        assert wait.result(15).status_code == 404
        following = re.findall(r'href="([^"]*-\d+)"', client.send("GET", pipe).text)[-1]
        wait = client.later("GET", following, node=0)
        client.publish(name(pipe), "after the restart", node=1)
        assert text(wait.result(15)) == "after the restart"


def test_what_was_published_survives_a_restart_of_redis(client_of: Clients) -> None:
    persistent = ("--appendonly", "yes", "--appendfsync", "always")
    with Cluster(2, redis_options=persistent) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        client.publish(name(pipe), "kept")
        cluster.redis.restart()
        until(lambda: client.send("GET", f"{pipe}-1").status_code == 200)
        assert text(client.send("GET", f"{pipe}-1")) == "kept"


def test_without_redis_requests_are_refused_plainly_and_readiness_says_so(
    client_of: Clients,
) -> None:
    with Cluster(2, "--redis-timeout-seconds", "2") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        cluster.redis.kill()
        answer = client.send("POST", "/restms/feed/default", "<restms><message/></restms>")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "Traceback" not in answer.text
        assert client.send("GET", pipe).status_code == 503
        assert client.send("GET", "/readyz").status_code == 503
        assert client.send("GET", "/livez").status_code == 200
        cluster.redis.start()
        until(lambda: client.send("GET", "/readyz").status_code == 200)
        # Its data was never on disk. The configured feeds come back by themselves.
        until(lambda: client.send("GET", "/restms/feed/default").status_code == 200)
        assert client.send("GET", pipe).status_code == 404
        assert client.new_pipe()


def test_a_frozen_redis_is_given_up_on_and_found_again(client_of: Clients) -> None:
    with Cluster(2, "--redis-timeout-seconds", "1") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        cluster.redis.pause()
        try:
            assert client.send("GET", pipe).status_code == 503
            assert client.send("GET", "/readyz", node=0).status_code == 503
        finally:
            cluster.redis.resume()
        until(lambda: client.send("GET", "/readyz", node=0).status_code == 200)
        assert client.send("GET", pipe).status_code == 200


@pytest.mark.parametrize("published", [True, False], ids=["hints published", "no hints at all"])
def test_waiting_works_without_keyspace_notifications(client_of: Clients, published: bool) -> None:
    """CONFIG is refused as on a managed service; without hints, waits read by themselves."""
    allowed = "+@all -config" if published else "+@all -config -subscribe"
    user = f"default on nopass ~* &* {allowed}".split()
    with Cluster(
        2, "--reread-seconds", "60" if published else "0.5", redis_options=("--user", *user)
    ) as cluster:
        client = client_of(cluster)
        for waiting, posting in ((0, 1), (1, 0)):
            pipe = client.new_pipe()
            wait = client.later("GET", f"{pipe}-1", node=waiting)
            if published:
                parked(cluster, pipe)
            client.publish(name(pipe), "hello", node=posting)
            assert text(wait.result(10)) == "hello"


def test_a_lost_notification_costs_time_but_no_message(client_of: Clients) -> None:
    with Cluster(2, "--reread-seconds", "0.5") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        wait = client.later("GET", f"{pipe}-1", node=0)
        parked(cluster, pipe)
        with cluster.redis.client() as redis:
            redis.config_set("notify-keyspace-events", "")
        client.publish(name(pipe), "unannounced", node=1)
        assert text(wait.result(10)) == "unannounced"


def test_cut_connections_are_made_again_under_a_wait(client_of: Clients) -> None:
    with Cluster(2, "--reread-seconds", "60") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        wait = client.later("GET", f"{pipe}-1", node=0)
        parked(cluster, pipe)
        with cluster.redis.client() as redis:
            redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        until(lambda: client.send("GET", "/readyz", node=0).status_code == 200)
        client.publish(name(pipe), "still here", node=1)
        assert text(wait.result(10)) == "still here"


def test_a_node_takes_so_many_waits_and_no_more(client_of: Clients) -> None:
    with Cluster(2, "--max-waits", "3") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        waits = [client.later("GET", f"{pipe}-1", node=0) for _ in range(4)]
        until(lambda: any(wait.done() for wait in waits))
        refused = [wait.result() for wait in waits if wait.done()]
        assert [answer.status_code for answer in refused] == [503]
        assert int(refused[0].headers["retry-after"]) >= 1
        client.publish(name(pipe), "hello", node=1)
        assert sorted(wait.result(5).status_code for wait in waits) == [200, 200, 200, 503]


def test_a_reader_that_hangs_up_frees_its_wait(client_of: Clients) -> None:
    with Cluster(2, "--max-waits", "1") as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{cluster.urls[0]}/restms/resource/{name(pipe)}-1", timeout=0.3)
        until(lambda: client.send("GET", f"{pipe}-1", node=0, Prefer="wait=1").status_code == 204)


def test_a_client_that_does_not_read_does_not_keep_a_node_from_ending(client_of: Clients) -> None:
    with Cluster(1, "--drain-seconds", "1") as cluster:
        client = client_of(cluster)
        staged = client.send(
            "POST", "/restms/feed/default", b"x" * (16 << 20), Content_Type="a/b"
        ).headers["location"]
        host, _, port = cluster.urls[0].removeprefix("http://").partition(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            path = httpx.URL(staged).path
            deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert deaf.recv(12) == b"HTTP/1.1 200"
            assert cluster.nodes[0].terminate() == 0


def test_a_body_that_no_method_wants_is_not_kept(client: Client) -> None:
    pipe = client.new_pipe()
    node = client.cluster.nodes[0]
    host, _, port = node.url.removeprefix("http://").partition(":")

    def memory() -> int:
        fields = Path(f"/proc/{node.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    before = memory()
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"GET /restms/resource/{name(pipe)}-1 HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(100):
            connection.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        assert memory() < before + (40 << 20)


def test_waits_come_and_go_without_leaving_subscriptions(client: Client) -> None:
    pipe = client.new_pipe()
    wait = client.later("GET", f"{pipe}-1")
    parked(client.cluster, pipe)
    client.publish(name(pipe), "hello")
    wait.result(5)
    key = f"__keyspace@0__:restms:{{default}}:pipe:{name(pipe)[1:]}:messages"
    with client.cluster.redis.client() as redis:
        until(lambda: redis.pubsub_numsub(key)[0][1] == 0)
