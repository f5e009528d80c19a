"""Clients that mean harm, on the bare wire: to the node with the lane and to the one without."""

import contextlib
import http.client
import resource
import socket
from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import Client
from tests.nodes import Cluster

CLOSE, MEGABYTE = b"\x88", 1024 * 1024
DOMAIN = "GET /restms/domain/default HTTP/1.1\r\n"
POST = "POST /restms/feed/default HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
SOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
SPOKEN = "Sec-WebSocket-Protocol: restms\r\n"


@pytest.fixture(params=[0, 1], ids=["lane", "no lane"])
def wire(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A connection to a node."""
    host, port = cluster.urls[request.param].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield connection


def answer(wire: socket.socket) -> tuple[int, str | None, bytes]:
    """The next answer: its status, its word, its body."""
    found = http.client.HTTPResponse(wire)
    found.begin()
    return found.status, found.getheader("restms-error"), found.read()


MALFORMED = {
    "a bare line feed": "GET /livez HTTP/1.1\nHost: x\n\n",
    "a bare line feed in a header": f"{DOMAIN}Host: x\nX: y\r\n\r\n",
    "a bare carriage return": f"{DOMAIN}Host: x\r\nX: a\rb\r\n\r\n",
    "NUL": f"{DOMAIN}Host: x\r\nX: a\0b\r\n\r\n",
    "a folded line": f"{DOMAIN}Host: x\r\nX: a\r\n b\r\n\r\n",
    "a blank before the colon": f"{POST}Transfer-Encoding : chunked\r\n\r\n",
    "both lengths": f"{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two equal lengths": f"{POST}Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "lengths with a comma": f"{POST}Content-Length: 5, 5\r\n\r\n",
    "a length in hex": f"{POST}Content-Length: 0x5\r\n\r\n",
    "a length with a blank": f"{POST}Content-Length: 5 5\r\n\r\n",
    "an unknown coding": f"{POST}Transfer-Encoding: xchunked\r\n\r\n",
    "a coding after chunked": f"{POST}Transfer-Encoding: chunked, identity\r\n\r\n",
    "a chunk of too many digits": f"{POST}Transfer-Encoding: chunked\r\n\r\n{'F' * 30}\r\n",
    "HTTP/1.0 in chunks": "POST /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": "GET /livez\r\n\r\n",
    "no Host": f"{DOMAIN}\r\n",
    "two Hosts": f"{DOMAIN}Host: x\r\nHost: x\r\n\r\n",
    "a Host with a user": f"{DOMAIN}Host: user@x\r\n\r\n",
    "a very long Host": f"{DOMAIN}Host: {'x' * 300}\r\n\r\n",
    "a target that is not the Host's": "GET http://y/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a WebSocket without a key": f"{DOMAIN}Host: x\r\n{SOCKET}\r\n",
    "a WebSocket over HTTP/1.0": f"GET / HTTP/1.0\r\nHost: x\r\n{SOCKET}{KEY}\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused_in_a_sentence_and_ends(
    name: str, wire: socket.socket
) -> None:
    wire.sendall(MALFORMED[name].encode() + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    status, word, body = answer(wire)
    assert status in (400, 501)
    assert word in ("bad_request", "unsupported_coding")
    assert body.endswith(b".\n")
    assert wire.recv(1) == b""  # what follows is not taken for a request


@pytest.mark.parametrize(
    "head",
    [f"GET /{'x' * 70_000} HTTP/1.1\r\n", f"{DOMAIN}X: {'x' * 70_000}", DOMAIN + "X: y\r\n" * 9999],
    ids=["a target", "a header", "headers"],
)
def test_a_head_without_end_is_refused(head: str, wire: socket.socket) -> None:
    wire.sendall(head.encode())
    assert answer(wire)[:2] == (431, "head_too_large")
    assert wire.recv(1) == b""


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_document_over_its_limit_is_refused_before_it_comes(
    expect: str, wire: socket.socket
) -> None:
    wire.sendall(f"{POST}Content-Length: {3 * MEGABYTE}\r\n{expect}\r\n".encode())
    assert answer(wire)[:2] == (413, "too_large")


def test_who_waits_for_100_is_told_413_instead(wire: socket.socket) -> None:
    expect = "Expect: 100-continue\r\n\r\n"
    wire.sendall(f"{POST}Content-Length: {3 * MEGABYTE}\r\n{expect}".encode())
    assert wire.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_who_waits_for_100_and_may_send_is_told_so(wire: socket.socket) -> None:
    wire.sendall(f"{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
    assert wire.recv(65536).startswith(b"HTTP/1.1 100 ")
    wire.sendall(b"<oops")
    assert answer(wire)[:2] == (400, "bad_request")


def test_who_sends_first_and_then_reads_sees_the_413(wire: socket.socket) -> None:
    wire.sendall(f"{POST}Content-Length: {3 * MEGABYTE}\r\n\r\n".encode())
    wire.sendall(bytes(3 * MEGABYTE))
    assert answer(wire)[:2] == (413, "too_large")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\xff" + (MEGABYTE).to_bytes(8) + bytes(4 + MEGABYTE), 1009),
        (b"\xff\xff\xff\xff\xff\xff", 1002),
    ],
    ids=["too large", "no frame"],
)
def test_a_websocket_that_errs_is_closed_with_a_code(
    frame: bytes, code: int, wire: socket.socket, client: Client
) -> None:
    path = client.new_pipe().partition("/restms")[2]
    wire.sendall(f"GET /restms{path} HTTP/1.1\r\nHost: x\r\n{SOCKET}{KEY}{SPOKEN}\r\n".encode())
    come = b""
    while b"\r\n\r\n" not in come:
        come += wire.recv(1)
    assert b" 101 " in come
    wire.sendall(frame)
    # The connection ends, though we never close.
    rest = b"".join(iter(lambda: wire.recv(65536), b""))
    assert code.to_bytes(2) in rest[rest.rindex(CLOSE) :]


def test_no_answer_tells_what_serves_it_or_lets_pages_in(client: Client) -> None:
    for node in (0, 1):
        for origin in ("null", "http://evil.example"):
            asked = client.send("OPTIONS", "/restms/feed/default", node=node, Origin=origin,
                                Access_Control_Request_Method="POST")  # fmt: skip
            assert "server" not in asked.headers
            assert not [name for name in asked.headers if name.startswith("access-control")]
            posted = client.send("POST", "/restms/feed/default", "x", node=node, Origin=origin)
            assert posted.status_code == 403


def test_more_connections_than_there_are_files_for_are_turned_away() -> None:
    with Cluster(1) as cluster, contextlib.ExitStack() as held:
        node = cluster.nodes[0]
        resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (130, 130))
        at = node.url.removeprefix("http://").split(":")
        wires = [held.enter_context(socket.create_connection(at, timeout=10)) for _ in range(31)]
        assert answer(wires.pop())[:2] == (503, "unavailable")
        wires[0].sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(wires[0])[0] == 200
        assert "Traceback" not in node.log()
