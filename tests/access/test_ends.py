"""Waits and streams end when the credentials do that they were begun with."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from restms_node.rules import read_rules
from tests.access.nodes import CHALLENGE, SECONDS, Nodes
from tests.conformance.client import Client
from tests.conformance.websocket import JSON, RefusedError, WebSocket

SOON = 0.4  # seconds, in which credentials are still good
LANES = pytest.mark.parametrize("node", [0, 1], ids=["lane", "no-lane"])
FEED = "/restms/feed/default"
RULE = {
    "principal": "*",
    "verbs": ["configure", "publish", "subscribe"],
    "domain": "default",
    "feed": "*",
}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes(read_rules([RULE], {"default"}), heartbeat_seconds=0.1, max_waits=50) as some:
        yield some


def until_soon(name: str) -> str:
    return f"{name};;{time.time() + SOON}"


@LANES
@pytest.mark.parametrize("path", ["-1", "?messages=3", ""])
def test_a_wait_is_answered_when_its_credentials_end(nodes: Nodes, node: int, path: str) -> None:
    pipe = nodes.pipe(by="alice")
    by = until_soon("alice")
    etag = nodes.send("GET", pipe, by=by).headers["etag"]
    waits = {} if path else {"When-None-Match": etag}
    begun = time.monotonic()
    answer = nodes.send("GET", pipe + path, by=by, node=node, **waits)
    assert SOON / 2 < time.monotonic() - begun < SECONDS / 2
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert answer.headers["restms-error"] == "unauthorized"


def test_a_wait_that_is_over_sooner_is_not_touched(nodes: Nodes) -> None:
    pipe = nodes.pipe(by="alice")
    by = f"alice;;{time.time() + 60}"
    assert nodes.send("GET", f"{pipe}-1", by=by, Prefer="wait=1").status_code == 204
    nodes.publish(FEED, pipe.rpartition("/")[2], by="alice")
    assert nodes.send("GET", f"{pipe}-1", by=by).status_code == 200


@pytest.mark.parametrize("kind", ["text/event-stream", "multipart/mixed", "application/cbor-seq"])
def test_a_stream_ends_as_it_should(nodes: Nodes, kind: str) -> None:
    pipe = nodes.pipe(by="alice")
    nodes.publish(FEED, pipe.rpartition("/")[2], by="alice", text="the first")
    with nodes.stream(pipe, by=until_soon("alice"), Accept=kind) as answer:
        assert answer.status_code == 200
        body = b"".join(answer.iter_bytes())  # raises where the body is cut
    assert b"the first" in body
    if kind == "multipart/mixed":
        assert body.rstrip().endswith(b"--")


def test_a_stream_ends_though_there_is_always_more_to_send(nodes: Nodes) -> None:
    pipe = nodes.pipe(by="alice")
    ended = threading.Event()

    def publish() -> None:
        while not ended.is_set():
            nodes.publish(FEED, pipe.rpartition("/")[2], by="alice")

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        with nodes.stream(pipe, by=until_soon("alice"), Accept="text/event-stream") as answer:
            for _ in answer.iter_bytes():
                pass
    finally:
        ended.set()
        publishing.join()


def test_a_websocket_is_closed_with_a_code_of_its_own(nodes: Nodes) -> None:
    pipe = nodes.pipe(by="alice")
    headers = (("Authorization", f"Bearer {until_soon('alice')}"),)
    with Client(nodes.urls) as client, WebSocket(client, pipe, JSON, headers=headers) as socket:
        assert socket.closed().code == 4401


def test_a_websocket_needs_what_a_get_does(nodes: Nodes) -> None:
    pipe = nodes.pipe(by="alice")
    with Client(nodes.urls) as client:
        for by, status in (("", 401), ("bob", 404)):
            headers = (("Authorization", f"Bearer {by}"),) if by else ()
            socket = WebSocket(client, pipe, JSON, headers=headers)
            with pytest.raises(RefusedError) as refused, socket:
                pass
            assert refused.value.status == status


@pytest.mark.parametrize("kind", ["application/cbor-seq", "text/plain"])
def test_an_endless_body_is_cut_off(nodes: Nodes, kind: str) -> None:
    pipe = nodes.pipe(by="alice")
    name = pipe.rpartition("/")[2].encode()
    item = b"\xa1\x67address\x78" + bytes([len(name)]) + name
    by = until_soon("alice")

    def pieces() -> Iterator[bytes]:
        # A little longer than the credentials are good: what is sent then is read away.
        while time.time() < float(by.rpartition(";")[2]) + SOON / 2:
            yield item
            time.sleep(0.02)

    answer = nodes.send("POST", FEED, pieces(), by=by, Content_Type=kind)
    assert answer.status_code == 401
    if kind == "application/cbor-seq":
        routed = int(answer.headers["restms-routed"])
        assert routed > 0
        listed = nodes.send("GET", pipe, by="alice").text
        assert listed.count("<message ") == routed + 1  # and the one that comes next


def test_who_is_no_longer_known_waits_no_longer(nodes: Nodes) -> None:
    pipe = nodes.pipe(by="eve")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(nodes.send, "GET", f"{pipe}-1", by="eve", node=0)
        nodes.until_parked()
        nodes.authenticator.forget("eve")
        nodes.publish(FEED, pipe.rpartition("/")[2], by="alice")  # what she would be waked by
        assert waiting.result(SECONDS).status_code == 401


def test_who_is_no_longer_known_is_cut_off_too(nodes: Nodes) -> None:
    pipe = nodes.pipe(by="mallory")
    waiting = nodes.stream(pipe, by="mallory", Accept="text/event-stream")
    with waiting as answer:
        pieces = answer.iter_bytes()
        assert next(pieces)
        nodes.authenticator.forget("mallory")
        for _ in pieces:  # no more than until the next heartbeat
            pass
    assert nodes.send("GET", pipe, by="mallory").status_code == 401


def test_who_is_put_in_other_groups_is_to_ask_again(nodes: Nodes) -> None:
    pipe = nodes.pipe(by="frank;crew")
    with nodes.stream(pipe, by="frank;crew", Accept="text/event-stream") as answer:
        pieces = answer.iter_bytes()
        assert next(pieces)
        nodes.authenticator.put_in("frank")
        for _ in pieces:  # no more than until the next heartbeat
            pass
    assert nodes.send("GET", pipe, by="frank;crew").status_code == 200  # which others let him
