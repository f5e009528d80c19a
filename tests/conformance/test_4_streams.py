"""Sections 4 and 5: a stream of messages in one request, as `application/cbor-seq`."""

from collections.abc import Iterable

import cbor2
import httpx
import pytest

from tests.conformance.client import Client, expect, unique
from tests.conformance.conftest import ADDRESS, DOCUMENT_BYTES, PER_PIPE
from tests.conformance.documents import (
    CBOR,
    Element,
    data_of,
    message,
    numbered,
    restms,
    staged,
    text,
)

pytestmark = pytest.mark.ours

SEQUENCE = "application/cbor-seq"


def stream(
    client: Client, feed: str, body: bytes | Iterable[bytes], **headers: str
) -> httpx.Response:
    """Post a stream of messages."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request("POST", feed, body=body, headers={"content-type": SEQUENCE, **given})


def items(messages: Iterable[Element]) -> bytes:
    return b"".join(cbor2.dumps(message) for message in messages)


def numbers(broker: Client, pipe: str) -> list[int]:
    return [int(number) for number in broker.ids(pipe)]


def test_its_messages_are_routed_in_order_and_counted(broker: Client, feed: str, pipe: str) -> None:
    answer = expect(stream(broker, feed, items(numbered(250, address=ADDRESS))), 200)
    assert answer.headers["RestMS-Routed"] == "250"
    assert answer.content == b""
    assert numbers(broker, pipe) == list(range(1, 251))


def test_a_chunk_may_end_anywhere(broker: Client, feed: str, pipe: str) -> None:
    data = items(numbered(20, address=ADDRESS))
    chunks = (data[at : at + 7] for at in range(0, len(data), 7))
    assert expect(stream(broker, feed, chunks), 200).headers["RestMS-Routed"] == "20"
    assert numbers(broker, pipe) == list(range(1, 21))


def test_a_message_is_what_it_is_in_a_document(broker: Client, feed: str, pipe: str) -> None:
    given = message(
        ADDRESS, text("a text"), {"value": b"\0\xff"}, reply_to="me", header=[("n", "v")]
    )
    expect(stream(broker, feed, items([given])), 200)
    (received,) = broker.in_format(CBOR).receive_all(pipe)
    assert received["reply_to"] == "me"
    assert received["header"] == [{"name": "n", "value": "v"}]
    assert [data_of(content) for content in received["content"]] == [b"a text", b"\0\xff"]


def test_a_message_may_name_a_staged_content(broker: Client, feed: str, pipe: str) -> None:
    content = broker.stage(feed, b"staged")
    expect(stream(broker, feed, items([message(ADDRESS, staged(content))])), 200)
    (received,) = broker.receive_all(pipe)
    assert data_of(received["content"][0]) == b"staged"


def test_repeats_are_known_as_in_documents(broker: Client) -> None:
    feed = broker.create_feed(unique("once"), type="fanout", dedup="60")
    pipe = broker.create_joined(feed)
    twice = items(numbered(3)) + items(numbered(3))
    assert expect(stream(broker, feed, twice), 200).headers["RestMS-Routed"] == "6"
    assert numbers(broker, pipe) == [1, 2, 3]


def test_an_empty_stream_routes_nothing(broker: Client, feed: str) -> None:
    assert expect(stream(broker, feed, b""), 200).headers["RestMS-Routed"] == "0"


@pytest.mark.parametrize(
    "rest",
    [
        b"\xff",
        b"\x01",
        b"\xa1\x61a",
        b"\xa1\x61a\xc1\x00",
        cbor2.dumps({"address": []}),
        cbor2.dumps({"priority": "high"}),
        cbor2.dumps(restms(message=[message(ADDRESS)])),
    ],
    ids=["no item", "no map", "half", "tag", "no text", "bad priority", "document"],
)
def test_what_comes_before_a_bad_item_is_routed_and_told(
    broker: Client, feed: str, pipe: str, rest: bytes
) -> None:
    body = items(numbered(3, address=ADDRESS)) + rest
    answer = expect(stream(broker, feed, body), 400)
    assert answer.headers["RestMS-Routed"] == "3"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "3" in answer.text
    assert answer.text.count("\n") == 1
    assert numbers(broker, pipe) == [1, 2, 3]


def test_what_comes_before_a_missing_content_is_routed(
    broker: Client, feed: str, pipe: str
) -> None:
    gone = broker.stage(feed, b"gone")
    broker.delete(gone)
    body = items(
        [
            *numbered(5, address=ADDRESS),
            message(ADDRESS, staged(gone)),
            *numbered(5, first=6, address=ADDRESS),
        ]
    )
    answer = expect(stream(broker, feed, body), 404)
    assert answer.headers["RestMS-Routed"] == "5"
    assert "nothing was routed" not in answer.text
    assert numbers(broker, pipe) == [1, 2, 3, 4, 5]


def test_what_comes_before_a_message_that_the_feed_does_not_match_is_routed(
    broker: Client, pipe: str
) -> None:
    feed = broker.create_feed(type="topic")
    broker.join(pipe, feed, "#")
    good, bad = message("a.b"), message(".".join("a" * 65))
    answer = expect(stream(broker, feed, items([good, good, bad, good])), 400)
    assert answer.headers["RestMS-Routed"] == "2"


def test_without_the_feed_nothing_is_routed(broker: Client) -> None:
    answer = stream(broker, "/restms/feed/" + unique("none"), items(numbered(3)))
    assert expect(answer, 404).headers["RestMS-Routed"] == "0"


def test_an_idempotency_key_is_refused(broker: Client, feed: str, pipe: str) -> None:
    """What of a stream was routed is told by its answer; a repeat would not be the same request."""
    body = items(numbered(1, address=ADDRESS))
    expect(stream(broker, feed, body, idempotency_key="key"), 400)
    assert numbers(broker, pipe) == []


def test_a_full_pipe_takes_what_it_has_room_for(small: Client) -> None:
    feed = small.create_feed(unique("narrow"), type="fanout")
    pipe = small.create_joined(feed)
    answer = expect(stream(small, feed, items(numbered(PER_PIPE + 3))), 503)
    assert answer.headers["RestMS-Routed"] == str(PER_PIPE)
    assert answer.headers["RestMS-Error"] == "full"
    assert int(answer.headers["Retry-After"]) > 0
    while listed := small.messages(pipe):
        small.acknowledge(listed[-1])
    rest = expect(stream(small, feed, items(numbered(3, first=PER_PIPE + 1))), 200)
    assert rest.headers["RestMS-Routed"] == "3"
    assert numbers(small, pipe) == [PER_PIPE + 1, PER_PIPE + 2, PER_PIPE + 3]
    small.delete(feed)


def test_pipes_that_are_passed_over_are_counted(small: Client) -> None:
    feed = small.create_feed(unique("narrow"), type="fanout")
    small.create_joined(feed)
    expect(stream(small, feed, items(numbered(PER_PIPE))), 200)
    small.create_joined(feed)
    answer = expect(stream(small, feed, items(numbered(2))), 200)
    assert answer.headers["RestMS-Routed"] == "2"
    assert answer.headers["RestMS-Full"] == "2"
    small.delete(feed)


def test_only_a_message_has_a_limit_and_not_the_stream(small: Client) -> None:
    feed = small.create_feed(unique("wide"))
    one = items([message(ADDRESS, text("x" * (DOCUMENT_BYTES - 200)))])
    assert len(one) < DOCUMENT_BYTES < 3 * len(one)
    assert expect(stream(small, feed, one * 30), 200).headers["RestMS-Routed"] == "30"
    large = items([message(ADDRESS, text("x" * DOCUMENT_BYTES))])
    answer = expect(stream(small, feed, one + large), 413)
    assert answer.headers["RestMS-Routed"] == "1"
    small.delete(feed)


@pytest.mark.parametrize("media_type", ["Application/CBOR-Seq", "application/cbor-seq; a=b"])
def test_the_type_is_known_however_it_is_written(
    broker: Client, feed: str, media_type: str
) -> None:
    headers = {"content-type": media_type}
    answer = broker.request("POST", feed, body=items(numbered(1)), headers=headers)
    assert expect(answer, 200).headers["RestMS-Routed"] == "1"
