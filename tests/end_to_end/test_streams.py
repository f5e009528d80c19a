"""Streams and WebSockets on nodes that go down, under readers who are slow or gone."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.client import Client, expect
from tests.conformance.documents import Element, message, numbered, text
from tests.conformance.streaming import CBOR_SEQ, SSE, TYPES, Stream, sequence
from tests.conformance.websocket import CBOR, JSON, RefusedError, WebSocket
from tests.end_to_end.conftest import name, parked, until
from tests.nodes import Cluster, Node

FEED = "/restms/feed/default"
Clients = Callable[[Cluster], Client]


@pytest.fixture
def client_of() -> Iterator[Clients]:
    made: list[Client] = []

    def make(cluster: Cluster) -> Client:
        made.append(Client(cluster.urls))
        return made[-1]

    yield make
    for one in made:
        one._made.clear()  # its nodes are gone
        one.close()


def megabytes(node: Node) -> float:
    """How much memory a node's process has."""
    pages = int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_streams_end_in_order_when_their_node_drains_and_go_on_elsewhere(
    client_of: Clients,
) -> None:
    with Cluster(2) as cluster:
        client = client_of(cluster)
        feed = client.create_feed("news", "fanout")
        pipes = {accept: client.create_joined(feed) for accept in TYPES}
        client.post_messages(feed, *numbered(5))
        seen: dict[str, list[Element]] = {}
        with ExitStack() as stack:
            streams = {
                accept: stack.enter_context(Stream(client.on(0), pipe, accept))
                for accept, pipe in pipes.items()
            }
            for accept, stream in streams.items():
                seen[accept] = stream.take(5)
            cluster.nodes[0].process.terminate()
            client.on(1).post_messages(feed, *numbered(5, 6))
            for accept, stream in streams.items():
                seen[accept] += stream.rest()  # the body ends as it should, whatever it still had
        assert cluster.nodes[0].ended() == 0
        for accept, pipe in pipes.items():
            got = seen[accept]
            with Stream(client.on(1), pipe, accept, last_event_id=got[-1]["href"]) as stream:
                got += stream.take(10 - len(got))
            assert [one["message_id"] for one in got] == [str(n) for n in range(1, 11)]


def test_websockets_are_closed_when_their_node_drains_and_go_on_elsewhere(
    client_of: Clients,
) -> None:
    with Cluster(2) as cluster:
        client = client_of(cluster)
        pipe, idle = client.create_pipe(), client.create_pipe()
        client.publish(FEED, *numbered(5, address=name(pipe)))
        with (
            WebSocket(client.on(0), pipe, JSON) as busy,
            WebSocket(client.on(0), f"{pipe}?window=1", CBOR) as full,
            WebSocket(client.on(0), idle, JSON) as silent,
        ):
            hrefs = [busy.message()["href"] for _ in range(5)]
            full.message()
            busy.acknowledge(hrefs[2])
            until(lambda: client.on(1).ids(pipe) == ["4", "5"])
            began = time.monotonic()
            cluster.nodes[0].process.terminate()
            for each in (busy, full, silent):
                assert each.closed().code == 1001
            assert cluster.nodes[0].ended() == 0
            assert time.monotonic() - began < 8
        with WebSocket(client.on(1), pipe, CBOR) as again:
            assert again.ids(2) == ["4", "5"]


def until_cut(stream: Stream) -> Iterator[str]:
    """The message_ids that still come before the connection breaks."""
    while True:
        try:
            yield from stream.ids()
        except httpx.TransportError:
            return


def test_nothing_is_lost_when_the_node_of_a_stream_is_killed(client_of: Clients) -> None:
    with Cluster(2) as cluster:
        client = client_of(cluster)
        pipe = client.create_pipe()
        client.publish(FEED, *numbered(1000, address=name(pipe)))
        seen: list[str] = []
        with Stream(client.on(0), pipe, CBOR_SEQ) as stream:
            seen += stream.ids(300)
            client.on(1).acknowledge(f"{pipe}-250")
            cluster.nodes[0].kill()
            seen += until_cut(stream)
        with Stream(client.on(1), pipe, CBOR_SEQ) as stream:  # from the oldest unacknowledged on
            again = stream.ids(750)
        assert seen == [str(n) for n in range(1, len(seen) + 1)]
        assert again == [str(n) for n in range(251, 1001)]


def slow_reader(cluster: Cluster, pipe: str) -> socket.socket:
    """Ask for a stream, and read nothing of it."""
    split = urlsplit(cluster.urls[0])
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((split.hostname, split.port))
    path = urlsplit(pipe).path
    slow.sendall(f"GET {path} HTTP/1.0\r\nHost: a\r\nAccept: {CBOR_SEQ}\r\n\r\n".encode())
    return slow


def received(connection: socket.socket) -> Iterator[bytes]:
    """The pieces of a body that ends with its connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    while piece := connection.recv(65536):
        yield piece


def test_a_slow_reader_holds_up_nobody_else_and_costs_no_memory(client_of: Clients) -> None:
    with Cluster(1, "--drain-seconds", "60") as cluster:
        client = client_of(cluster)
        pipe, other = client.create_pipe(), client.create_pipe()
        feed = client.create_feed("news", "fanout")
        for each in (pipe, other):
            client.join(each, feed)
        client.post_messages(feed, message(message_id="1"))
        before = megabytes(cluster.nodes[0])
        with closing(slow_reader(cluster, pipe)) as slow, Stream(client, other, SSE) as fast:
            assert fast.ids() == ["1"]
            count = 40
            for number in range(2, count + 1):  # 40 times 640 kB: no buffer of a socket has that
                contents = [text("x" * 64_000)] * 10
                client.post_messages(feed, message("", *contents, message_id=str(number)))
                assert fast.ids() == [str(number)]
                client.acknowledge(f"{other}-{number}")
            assert megabytes(cluster.nodes[0]) - before < 18
            client.delete(other)  # which ends the other stream
            assert fast.rest() == []
            items = sequence(received(slow))
            assert [next(items)["message_id"] for _ in range(count)] == [
                str(n) for n in range(1, count + 1)
            ]


def test_who_reads_nothing_for_long_is_let_go(client_of: Clients) -> None:
    """The system gives a connection up on which nothing is taken for `--drain-seconds`."""
    options = ("--max-waits", "1", "--drain-seconds", "1", "--heartbeat-seconds", "0.2")
    with Cluster(1, *options) as cluster:
        client = client_of(cluster)
        pipe = client.create_pipe()
        for _ in range(20):
            client.publish(FEED, message(name(pipe), *[text("x" * 64_000)] * 10))
        with closing(slow_reader(cluster, pipe)):
            parked(cluster, pipe)
            refused = expect(client.get(pipe, accept=SSE), 503)
            assert refused.headers["Retry-After"] == "1"
            until(lambda: client.head(pipe, accept=SSE).status_code == 200)


def test_a_reader_who_hangs_up_leaves_its_place(client_of: Clients) -> None:
    with Cluster(1, "--max-waits", "1") as cluster:
        client = client_of(cluster)
        pipe = client.create_pipe()
        for _ in range(3):
            until(lambda: client.head(pipe, accept=SSE).status_code == 200)
            with Stream(client, pipe, SSE):
                expect(client.get(pipe, accept=SSE), 503)
                expect(client.get(client.asynclet(pipe)), 503)
                with pytest.raises(RefusedError, match="503"), WebSocket(client, pipe, "restms"):
                    pass
            until(lambda: client.head(pipe, accept=SSE).status_code == 200)
            with WebSocket(client, pipe, "restms"):
                expect(client.get(pipe, accept=SSE), 503)


def test_a_stream_outlasts_a_restart_of_redis(client_of: Clients) -> None:
    persistent = ("--appendonly", "yes", "--appendfsync", "always")
    with Cluster(2, redis_options=persistent) as cluster:
        client = client_of(cluster)
        pipe = client.create_pipe()
        with Stream(client.on(0), pipe, SSE) as stream:
            parked(cluster, pipe)
            cluster.redis.restart()
            until(lambda: client.on(1).get("/readyz").status_code == 200)
            client.on(1).publish(FEED, *numbered(2, address=name(pipe)))
            assert stream.ids(2) == ["1", "2"]
