"""A stream of messages in one request: routed as it arrives, and never more than is told."""

import itertools
import queue
from collections.abc import Callable, Iterator

import cbor2
import httpx

from tests.conformance.wire import Wire
from tests.end_to_end.conftest import Client, name, parked, text, until
from tests.nodes import Cluster

Clients = Callable[[Cluster], Client]
FEED = "/restms/feed/default"


class Body:
    """A request's body that a test writes as it goes; None ends it."""

    def __init__(self) -> None:
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def write(self, piece: bytes | None) -> None:
        self._pieces.put(piece)

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            yield piece


class Opened(Wire):
    """A request whose end a test does not send."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.send(
            f"POST {FEED} HTTP/1.1\r\nHost: {self.host}\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: application/cbor-seq\r\n\r\n".encode()
        )

    def write(self, piece: bytes) -> None:
        self.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")


def message(pipe: str, value: str) -> bytes:
    return cbor2.dumps({"address": name(pipe), "content": [{"value": value}]})


def stream(client: Client, body: object, node: int) -> httpx.Response:
    return client.send("POST", FEED, body, node, Content_Type="application/cbor-seq")


def test_messages_arrive_while_the_request_goes_on(cluster: Cluster, client: Client) -> None:
    pipe, body = client.new_pipe(), Body()
    answer = client._threads.submit(stream, client, body, 0)
    for number in range(1, 4):
        wait = client.later("GET", f"{pipe}-{number}", node=1)
        parked(cluster, pipe)
        whole = message(pipe, str(number))
        body.write(whole[:9])  # a piece of one: what it belongs to comes with the next
        body.write(whole[9:])
        assert text(wait.result(5)) == str(number)
    assert not answer.done()
    body.write(None)
    assert answer.result(5).headers["restms-routed"] == "3"


def test_order_is_kept_over_many_batches(cluster: Cluster, client: Client) -> None:
    pipe, count = client.new_pipe(), 12_345
    messages = (message(pipe, str(number)) for number in range(1, count + 1))
    pieces = iter(lambda: b"".join(itertools.islice(messages, 700)), b"")
    answer = stream(client, pieces, 0)
    assert answer.status_code == 200
    assert answer.headers["restms-routed"] == str(count)
    for number in (1, 2, 699, 700, 701, 1000, 1001, 5000, count):
        assert text(client.send("GET", f"{pipe}-{number}", node=1)) == str(number)
    assert client.send("GET", f"{pipe}-{count + 1}", Prefer="wait=0").status_code == 204


def test_of_a_broken_stream_what_came_whole_is_routed(cluster: Cluster, client: Client) -> None:
    pipe = client.new_pipe()
    with Opened(cluster.urls[0]) as opened:
        opened.write(message(pipe, "whole") + message(pipe, "half")[:-1])
        assert text(client.send("GET", f"{pipe}-1", node=1)) == "whole"
    client.publish(name(pipe), "after", node=1)
    assert text(client.send("GET", f"{pipe}-2", node=1)) == "after"


def test_silence_ends_a_stream(client_of: Clients) -> None:
    with Cluster(1, "--body-seconds", "0.3") as cluster:
        pipe = client_of(cluster).new_pipe()
        with Opened(cluster.urls[0]) as opened:
            opened.write(message(pipe, "1"))
            status, headers, _ = opened.answer()
        assert (status, headers["restms-routed"]) == (400, "1")


def test_a_node_that_drains_tells_how_far_it_came_and_another_goes_on(client_of: Clients) -> None:
    with Cluster(2) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        with Opened(cluster.urls[0]) as opened:
            opened.write(message(pipe, "1"))
            assert text(client.send("GET", f"{pipe}-1", node=1)) == "1"
            cluster.nodes[0].process.terminate()
            status, headers, _ = opened.answer()
        assert (status, headers["retry-after"], headers["restms-routed"]) == (503, "0", "1")
        assert cluster.nodes[0].ended() == 0
        assert stream(client, message(pipe, "2"), 1).headers["restms-routed"] == "1"
        assert text(client.send("GET", f"{pipe}-2", node=1)) == "2"


def test_without_redis_the_answer_counts_what_is_safe(client_of: Clients) -> None:
    with Cluster(1, "--redis-timeout-seconds", "1") as cluster:
        client, body = client_of(cluster), Body()
        pipe = client.new_pipe()
        answer = client._threads.submit(stream, client, body, 0)
        body.write(message(pipe, "1"))
        assert text(client.send("GET", f"{pipe}-1")) == "1"
        cluster.redis.kill()
        body.write(message(pipe, "2"))
        body.write(None)
        refused = answer.result(10)
        assert refused.status_code == 503
        assert refused.headers["restms-routed"] == "1"
        assert refused.headers["restms-error"] == "state_unavailable"


def test_streams_count_as_waits(client_of: Clients) -> None:
    with Cluster(1, "--max-waits", "1") as cluster:
        client, body = client_of(cluster), Body()
        pipe = client.new_pipe()
        first = client._threads.submit(stream, client, body, 0)
        body.write(message(pipe, "1"))
        until(lambda: client.send("GET", f"{pipe}-1", Prefer="wait=0").status_code == 200)
        assert stream(client, message(pipe, "2"), 0).status_code == 503
        body.write(None)
        assert first.result(5).status_code == 200
        assert stream(client, message(pipe, "2"), 0).status_code == 200
