"""Two nodes behind HAProxy and nginx, each with the configuration that is shipped."""

import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import cbor2
import httpx
import pytest

from tests.conformance.client import DEFAULT_FEED, DOMAIN, Client, expect, unique
from tests.conformance.documents import Element, data_of, message, restms, staged, text
from tests.conformance.streaming import TYPES, Stream
from tests.conformance.websocket import JSON, WebSocket
from tests.deploy.conftest import Proxied
from tests.waiting import wait_until

MIB = 1024 * 1024
LARGE = 24 * MIB
CUT = 0  # in place of a status, where there was no answer


@pytest.fixture
def client(proxied: Proxied) -> Iterator[Client]:
    with proxied.client() as client:
        yield client


def name(pipe: str) -> str:
    return pipe.rpartition("/")[2]


def test_a_waiting_reader_is_answered_whichever_node_a_message_comes_to(
    client: Client, proxied: Proxied
) -> None:
    pipe = client.create_pipe()
    with Client(proxied.cluster.urls) as nodes:
        for number in range(4):
            waiting = client.get_later(f"{pipe}-{number + 1}")
            assert waiting.waits()
            nodes.publish(DEFAULT_FEED, message(name(pipe), text(str(number))))
            (received,) = client.document(waiting.answer())["message"]
            assert data_of(received["content"][0]) == str(number).encode()


@pytest.mark.parametrize("media_type", TYPES)
def test_a_stream_comes_message_by_message(client: Client, media_type: str) -> None:
    pipe = client.create_pipe()
    with Stream(client, pipe, media_type) as stream:
        for number in range(3):
            client.publish(DEFAULT_FEED, message(name(pipe), message_id=f"m{number}"))
            assert stream.ids() == [f"m{number}"]  # before the next is sent


def test_a_websocket_opens_and_takes_acknowledgements(client: Client) -> None:
    pipe = client.create_pipe()
    client.publish(DEFAULT_FEED, message(name(pipe), message_id="one"))
    with WebSocket(client, pipe, JSON) as socket:
        received = socket.message()
        assert received["message_id"] == "one"
        socket.acknowledge(received["href"])
        wait_until(lambda: client.messages(pipe) == [])


def test_only_websockets_are_let_through_of_what_a_connection_can_become(client: Client) -> None:
    asked = {"Connection": "Upgrade", "Upgrade": "h2c"}
    assert client.request("GET", DOMAIN, headers=asked).status_code == 200


def test_a_sequence_of_messages_goes_on_while_it_is_sent(client: Client) -> None:
    pipe = client.create_pipe()
    reader = client.get_later(f"{pipe}-1")

    def items() -> Iterator[bytes]:
        yield cbor2.dumps(message(name(pipe), message_id="first"))
        assert reader.answer().status_code == 200
        yield cbor2.dumps(message(name(pipe), message_id="second"))

    sent = {"Content-Type": "application/cbor-seq"}
    expect(client.request("POST", DEFAULT_FEED, body=items(), headers=sent), 200)
    assert client.ids(pipe) == ["first", "second"]


def test_a_large_content_goes_through_without_being_gathered(
    client: Client, proxied: Proxied
) -> None:
    feed, pipe = client.create_feed(unique("large"), "fanout"), client.create_pipe()
    client.join(pipe, feed)
    sent = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for number in range(LARGE // MIB):
            piece = bytes([number]) * MIB
            sent.update(piece)
            yield piece
            if number == LARGE // MIB // 2:
                wait_until(lambda: chunks(proxied) > 0)  # the node has some while more is to come

    content = client.request(
        "POST", feed, body=pieces(), headers={"Content-Type": "application/octet-stream"}
    )
    href = expect(content, 201).headers["Location"]
    client.post_messages(feed, message("", staged(href)))
    received = hashlib.sha256()
    with client.stream(f"{client.messages(pipe)[0]}-1", {}) as answer:
        for piece in answer.iter_raw():
            received.update(piece)
    assert received.digest() == sent.digest()
    # nginx has put nothing on the disk.
    assert [path for path in proxied.directory.glob("*/**/*") if path.is_file()] == []


def test_a_content_that_is_refused_is_told_so_while_it_is_sent(client: Client) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    body = (b"x" * MIB for _ in range(4))
    answer = client.request("POST", f"{DEFAULT_FEED}-that-is-not", body=body, headers=headers)
    assert answer.status_code == 404


def test_uris_begin_as_the_client_asked(client: Client, proxied: Proxied) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    answer = client.request("POST", DOMAIN, restms(pipe=[{}]), headers=forged)
    assert expect(answer, 201).headers["Location"].startswith(f"{proxied.url}/restms/")


def test_waits_and_publishing_survive_the_death_of_a_node(client: Client, proxied: Proxied) -> None:
    first = proxied.cluster.nodes[0]
    with Publishing(client) as publishing:
        waits = [(pipe := client.create_pipe(), client.get_later(f"{pipe}-1")) for _ in range(6)]
        assert all(wait.waits(0.05) for _, wait in waits)
        publishing.until_published(20)
        first.restart()  # it is killed
        for pipe, wait in waits:
            insist(client, message(name(pipe), text("late")))
            assert wait.answer().status_code == 200
        publishing.until_published(20)
    # HAProxy closes without an answer where a node did on a connection that was used before.
    assert publishing.others <= {502, CUT}
    assert publishing.lost() == set()


def test_nobody_fails_when_a_node_drains(client: Client, proxied: Proxied) -> None:
    first = proxied.cluster.nodes[0]
    with Publishing(client) as publishing:
        waits = [(pipe := client.create_pipe(), client.get_later(f"{pipe}-1")) for _ in range(6)]
        assert all(wait.waits(0.05) for _, wait in waits)
        publishing.until_published(20)
        assert first.terminate() == 0
        publishing.until_published(20)
        first.restart()
        for pipe, wait in waits:
            client.publish(DEFAULT_FEED, message(name(pipe), text("late")))
            assert wait.answer().status_code == 200
        publishing.until_published(20)
    assert publishing.others == set()
    assert publishing.lost() == set()


class Publishing:
    """Publishes numbered messages to a pipe, one after the other, inside `with`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pipe = client.create_pipe()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._published: set[str] = set()
        self.others: set[int] = set()  # the statuses of those that were not

    def until_published(self, more: int) -> None:
        """Wait until so many more have been published."""
        before = len(self._published)
        wait_until(lambda: len(self._published) >= before + more)

    def lost(self) -> set[str]:
        """Return those that were published and are not there."""
        return self._published - set(self._client.ids(self._pipe))

    def _publish(self) -> None:
        for number in itertools.count():
            if self._ended.is_set():
                break
            one = message(name(self._pipe), message_id=str(number))
            try:
                status = self._client.post(DEFAULT_FEED, restms(message=[one])).status_code
            except httpx.RemoteProtocolError:
                status = CUT
            if status == 200:
                self._published.add(str(number))
            else:
                self.others.add(status)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def insist(client: Client, one: Element) -> None:
    """Publish a message, again where no answer says that it was."""

    def published() -> bool:
        with suppress(httpx.RemoteProtocolError):
            return client.post(DEFAULT_FEED, restms(message=[one])).status_code == 200
        return False

    wait_until(published)


def chunks(proxied: Proxied) -> int:
    """Count the chunks of contents that are stored."""
    with proxied.cluster.redis.client() as redis:
        return sum(1 for _ in redis.scan_iter("restms:*:content:*:*", count=1000))
