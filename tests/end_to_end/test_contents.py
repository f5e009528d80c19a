"""Large contents: in through one node, out through another, and what breaks half way."""

import hashlib
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.end_to_end.conftest import SECONDS, Client, name, until
from tests.nodes import Cluster, Node

Clients = Callable[[Cluster], Client]

FEED = "/restms/feed/default"
MIB = 1 << 20
PIECE = bytes(range(256)) * 1024
CHUNK = 256 * 1024
LARGE = 64 * MIB
# What a node may need for a content of 64 MiB, in one way: buffers of the sockets, the
# web server and the connection to Redis, some chunks each. 3 MiB were measured; a node that
# kept even a quarter of the content would be found out.
LEAST_MEMORY = 16 * MIB


def pieces(size: int) -> Iterator[bytes]:
    """Bytes in which no two MiB are alike."""
    for number in range(size // len(PIECE)):
        yield number.to_bytes(4, "big") + PIECE[4:]


def some(first: int, last: int) -> bytes:
    """Those of these bytes from one to another."""
    start, end = first // len(PIECE), last // len(PIECE) + 1
    found = b"".join(n.to_bytes(4, "big") + PIECE[4:] for n in range(start, end))
    return found[first - start * len(PIECE) : last + 1 - start * len(PIECE)]


def peak(node: Node) -> int:
    """The most bytes that a node ever had in memory."""
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def digest(url: str, **headers: str) -> tuple[str, int]:
    """Read a content without keeping it; return the digest of its bytes, and how many there are."""
    found, size = hashlib.sha256(), 0
    with httpx.stream("GET", url, headers=headers, timeout=SECONDS) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_bytes():
            found.update(piece)
            size += len(piece)
        assert size == int(answer.headers["content-length"])
    return found.hexdigest(), size


def stage(client: Client, size: int, node: int) -> str:
    """Upload a content in pieces; return its URI."""
    answer = client.send(
        "POST", FEED, pieces(size), node=node, Content_Type="video/mp4", Content_Length=str(size)
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def upload(node: Node, size: int, sent: int) -> socket.socket:
    """Begin an upload, and stop half way."""
    host, _, port = node.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=SECONDS)
    head = f"POST {FEED} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    for piece in pieces(sent):
        connection.sendall(piece)
    return connection


def keys(client: "redis.Redis[bytes]") -> list[bytes]:
    return [*client.keys("*:content:*"), *client.keys("*:loose")]


@pytest.fixture
def redis_client(cluster: Cluster) -> Iterator["redis.Redis[bytes]"]:
    with cluster.redis.client() as connection:
        yield connection
        assert keys(connection) == []


def test_a_large_content_goes_through_nodes_that_do_not_keep_it(client_of: Clients) -> None:
    with Cluster(2, "--sweep-seconds", "0.1") as cluster, cluster.redis.client() as state:
        client = client_of(cluster)
        feed = client.send(
            "POST", "/restms/domain/default", "<restms><feed type='fanout'/></restms>"
        ).headers["location"]
        pipes = [client.new_pipe() for _ in range(2)]
        for pipe in pipes:
            joined = client.send("POST", pipe, f"<restms><join feed='{feed}'/></restms>")
            assert joined.status_code == 201
        before = [peak(node) for node in cluster.nodes]
        head = {"Content_Type": "video/mp4", "Content_Length": str(LARGE)}
        content = client.send("POST", feed, pieces(LARGE), node=0, **head).headers["location"]
        client.send(
            "POST", feed, f"<restms><message><content href='{content}'/></message></restms>"
        )
        whole = hashlib.sha256()
        for piece in pieces(LARGE):
            whole.update(piece)
        for pipe in pipes:
            message = client.send("GET", f"{pipe}-1", node=1).text
            assert f'length="{LARGE}"' in message
            uri = f"{cluster.urls[1]}/restms/resource/{name(pipe)}-1-1"
            assert digest(uri) == (whole.hexdigest(), LARGE)
            for first, last in ((0, 0), (CHUNK - 1, CHUNK), (LARGE // 2, LARGE // 2 + MIB)):
                part = client.send("GET", uri, node=1, Range=f"bytes={first}-{last}")
                assert part.status_code == 206
                assert part.headers["content-range"] == f"bytes {first}-{last}/{LARGE}"
                assert part.content == some(first, last)
        for node, least in zip(cluster.nodes, before, strict=True):
            assert peak(node) - least < LEAST_MEMORY
        client.send("DELETE", f"{pipes[0]}-1")
        assert len(keys(state)) == 1 + LARGE // CHUNK
        client.send("DELETE", f"{pipes[1]}-1")
        until(lambda: not keys(state))


def test_an_upload_whose_client_hangs_up_leaves_nothing(
    client: Client, redis_client: "redis.Redis[bytes]"
) -> None:
    connection = upload(client.cluster.nodes[0], LARGE, 4 * MIB)
    until(lambda: len(keys(redis_client)) > 4)
    connection.close()
    until(lambda: not keys(redis_client))


def test_an_upload_that_stalls_is_refused_and_leaves_nothing(client_of: Clients) -> None:
    with Cluster(1, "--body-seconds", "0.5") as cluster, cluster.redis.client() as state:
        with upload(cluster.nodes[0], LARGE, 4 * MIB) as connection:
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 400")
            assert answer.endswith(b"The body took too long to come.\n")
        assert keys(state) == []


def test_an_upload_is_freed_by_others_when_its_node_is_killed(client_of: Clients) -> None:
    # What there is of an upload is kept for three times the longest pause.
    options = ("--body-seconds", "0.5", "--sweep-seconds", "0.2")
    with Cluster(2, *options) as cluster, cluster.redis.client() as state:
        with upload(cluster.nodes[0], LARGE, 4 * MIB):
            until(lambda: len(keys(state)) > 4)
            cluster.nodes[0].signal(signal.SIGKILL)
        until(lambda: not keys(state))


def test_an_upload_beyond_the_limit_is_refused_and_leaves_nothing(client_of: Clients) -> None:
    with Cluster(1, "--content-bytes", "8MiB") as cluster, cluster.redis.client() as state:
        client = client_of(cluster)
        for length in ({"Content_Length": str(16 * MIB)}, {}):  # told before, or found out
            answer = client.send("POST", FEED, pieces(16 * MIB), Content_Type="a/b", **length)
            assert (answer.status_code, answer.headers["restms-error"]) == (413, "too_large")
            assert keys(state) == []
        # At the limit it is taken.
        assert client.send("DELETE", stage(client, 8 * MIB, 0)).status_code == 200


def test_an_upload_ends_with_its_node_and_leaves_nothing(client_of: Clients) -> None:
    with Cluster(1, "--drain-seconds", "0.5") as cluster, cluster.redis.client() as state:
        with upload(cluster.nodes[0], LARGE, 4 * MIB):
            until(lambda: len(keys(state)) > 4)
            assert cluster.nodes[0].terminate() == 0
        assert keys(state) == []


def test_a_content_that_goes_while_it_is_read_ends_short(
    client: Client, redis_client: "redis.Redis[bytes]"
) -> None:
    uri = stage(client, LARGE, 0)
    with (
        httpx.Client(timeout=SECONDS) as reader,
        reader.stream("GET", uri) as answer,
    ):
        assert answer.headers["content-length"] == str(LARGE)
        body = answer.iter_bytes()
        next(body)
        client.send("DELETE", uri)
        with pytest.raises(httpx.RemoteProtocolError):
            list(body)
    assert "an answer was cut short: The content is no longer there." in client.cluster.log()
    assert "Traceback" not in client.cluster.log()
    assert client.send("GET", uri).status_code == 404
    until(lambda: not keys(redis_client))


def test_a_client_that_sends_on_after_its_answer_is_cut_off(client: Client) -> None:
    host, _, port = client.cluster.urls[0].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        head = "POST /restms/feed/nowhere HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
        connection.sendall(f"{head}Content-Length: {256 * MIB}\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            connection.sendall(bytes(256 * MIB))
