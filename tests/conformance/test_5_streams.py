"""Section 5: a pipe's messages in one endless body: server-sent events and others."""

from urllib.parse import urlsplit

import pytest

from tests.conformance.client import Client, expect, unique, until
from tests.conformance.conftest import ADDRESS
from tests.conformance.documents import (
    CBOR,
    JSON,
    TEXT_XML,
    XML,
    Format,
    binary,
    data_of,
    message,
    numbered,
    staged,
    text,
)
from tests.conformance.streaming import CBOR_SEQ, MULTIPART, SSE, TYPES, Stream

pytestmark = pytest.mark.ours

LARGE = b"x" * 200_000
AWKWARD = "two\nlines\r\nand\rthree\u2028 data: x\n\nid: y\n\n--boundary--"


@pytest.fixture(params=TYPES)
def accept(request: pytest.FixtureRequest) -> str:
    """Each type of stream."""
    return request.param


def test_stream_begins_with_the_oldest_and_goes_on(
    broker: Client, feed: str, pipe: str, accept: str
) -> None:
    """Section 5: a stream has the messages that are there, then each as it comes."""
    broker.publish(feed, *numbered(3, address=ADDRESS))
    with Stream(broker.on(0), pipe, accept) as stream:
        assert stream.ids(3) == ["1", "2", "3"]
        broker.on(1).publish(feed, *numbered(2, 4, address=ADDRESS))
        assert stream.ids(2) == ["4", "5"]
        broker.on(0).publish(feed, message(ADDRESS, message_id="6"))
        assert stream.ids() == ["6"]


def test_streamed_message_is_the_whole_message(
    broker: Client, feed: str, pipe: str, accept: str
) -> None:
    """Section 5: a streamed message is as a reader of it alone gets it, and has its URI."""
    contents = (text(AWKWARD), binary(bytes(range(256))), text("", "text/html"))
    broker.publish(
        feed, message(ADDRESS, *contents, reply_to="me", header=[("a", "1"), ("b", "\u00e9\n")])
    )
    broker.publish(feed, message(ADDRESS, staged(broker.stage(feed, LARGE, "image/png"))))
    with Stream(broker, pipe, accept) as stream:
        first, second = stream.take(2)
    held = [urlsplit(uri).path for uri in broker.messages(pipe)]
    assert [urlsplit(one["href"]).path for one in (first, second)] == held
    assert [data_of(content) for content in first["content"]] == [
        data_of(content) for content in contents
    ]
    assert first["header"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "\u00e9\n"}]
    assert first["reply_to"] == "me"
    assert broker.get(second["content"][0]["href"]).content == LARGE


def test_acknowledging_stays_a_delete(broker: Client, feed: str, pipe: str, accept: str) -> None:
    """Section 5: what is acknowledged is not streamed again, nor does the stream lose its place."""
    broker.publish(feed, *numbered(3, address=ADDRESS))
    with Stream(broker, pipe, accept) as stream:
        sent = stream.take(3)
        broker.acknowledge(sent[1]["href"])
        broker.publish(feed, message(ADDRESS, message_id="4"))
        assert stream.ids() == ["4"]
        with Stream(broker, pipe, accept) as again:
            assert again.ids(2) == ["3", "4"]


def test_last_event_id_resumes_after_it(broker: Client, feed: str, pipe: str, accept: str) -> None:
    """Section 5: with `Last-Event-ID`, a stream goes on after that message."""
    broker.publish(feed, *numbered(4, address=ADDRESS))
    with Stream(broker.on(0), pipe, accept) as stream:
        last = stream.take(2)[-1]["href"]
    for given in (last, urlsplit(last).path):
        with Stream(broker.on(1), pipe, accept, last_event_id=given) as stream:
            assert stream.ids(2) == ["3", "4"]


def test_last_event_id_that_was_acknowledged_will_do(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: `Last-Event-ID` may name a message that is gone."""
    broker.publish(feed, *numbered(3, address=ADDRESS))
    held = broker.messages(pipe)
    broker.acknowledge(held[1])
    with Stream(broker, pipe, SSE, last_event_id=held[0]) as stream:
        assert stream.ids() == ["3"]


@pytest.mark.parametrize("given", ["7", "{pipe}", "{other}", "http://[", "/restms/feed/default"])
def test_last_event_id_of_something_else_is_refused(broker: Client, pipe: str, given: str) -> None:
    """Section 5: a `Last-Event-ID` that is no message of the pipe is 400."""
    value = given.format(pipe=pipe, other=f"{broker.create_pipe()}-1")
    expect(broker.get(pipe, accept=SSE, last_event_id=value), 400)


def test_stream_is_not_stored_nor_buffered(broker: Client, pipe: str, accept: str) -> None:
    """Section 5: streams say `no-store`, and to proxies that they must not gather them."""
    with Stream(broker, pipe, accept) as stream:
        assert stream.headers["Content-Type"].startswith(accept)
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert "Accept" in stream.headers["Vary"]
        assert "Content-Length" not in stream.headers


def test_head_has_the_headers_only(broker: Client, pipe: str, accept: str) -> None:
    """Section 2: HEAD never waits, also of a stream."""
    answer = expect(broker.head(pipe, accept=accept), 200)
    assert answer.headers["Content-Type"].startswith(accept)
    assert answer.content == b""


def test_silent_stream_gives_a_sign(small: Client, accept: str) -> None:
    """Section 5: where there is no message for some seconds, a stream has a heartbeat."""
    pipe = small.create_pipe()
    feed = small.create_feed(unique("feed"))
    small.join(pipe, feed, ADDRESS)
    with Stream(small, pipe, accept) as stream:
        assert [stream.item() for _ in range(3)] == [None] * 3
        small.publish(feed, message(ADDRESS, message_id="1"))
        assert stream.ids() == ["1"]
        assert stream.item() is None


def test_stream_ends_with_its_pipe(broker: Client, feed: str, pipe: str, accept: str) -> None:
    """Section 5: when the pipe is deleted, its streams end; one that is not there is 404."""
    broker.publish(feed, message(ADDRESS))
    with Stream(broker.on(0), pipe, accept) as stream:
        stream.take()
        broker.on(1).delete(pipe)
        assert stream.rest() == []
    expect(broker.get(pipe, accept=accept), 404)


@pytest.mark.parametrize("document", [XML, TEXT_XML, JSON, CBOR], ids=str)
def test_parts_are_in_the_type_that_is_accepted(
    broker: Client, feed: str, pipe: str, document: Format
) -> None:
    """Section 5: the parts of a multipart stream are in the best type of documents accepted."""
    broker.publish(feed, message(ADDRESS, text("one"), message_id="1"))
    with Stream(broker, pipe, f"multipart/mixed, {document.media_type};q=0.5") as stream:
        (one,) = stream.take()
    with broker.stream(pipe, {"accept": f"multipart/*, {document.media_type};q=0.5"}) as raw:
        head = b""
        for piece in raw.iter_raw():
            head += piece
            if b"Content-Location" in head:
                break
    assert one["message_id"] == "1"
    assert f"Content-Type: {document.media_type}\r\n".encode() in head


def test_documents_come_first_where_both_will_do(broker: Client, pipe: str) -> None:
    """Section 2: who accepts anything gets the pipe's description."""
    for accepted in ("*/*", "text/*", "application/*", f"{SSE};q=0.5, text/xml"):
        answer = expect(broker.get(pipe, accept=accepted), 200)
        assert "xml" in answer.headers["Content-Type"]
    assert broker.get(pipe, accept="image/png").status_code == 501
    assert broker.get(broker.create_feed(), accept=SSE).status_code == 501


def test_ondemand_pipe_streams_one_by_one(broker: Client, accept: str) -> None:
    """Section 7: a stream takes a message for an ondemand pipe; the next when that is deleted."""
    jobs = broker.create_feed(unique("jobs"), "rotator")
    mine, theirs = (broker.create_joined(jobs, type="ondemand") for _ in range(2))
    with Stream(broker.on(0), mine, accept) as stream:
        broker.on(1).post_messages(jobs, *numbered(3))
        (first,) = stream.take()
        assert first["message_id"] == "1"
        with Stream(broker.on(1), theirs, accept) as other:
            assert other.ids() == ["2"]
        broker.acknowledge(first["href"])
        assert stream.ids() == ["3"]


def test_stream_is_a_pipe_type_that_needs_nothing_more(broker: Client, feed: str) -> None:
    """Section 6: `stream` is another word for the default pipe type."""
    pipe = broker.create_pipe(type="stream")
    assert broker.read(pipe)["type"] == ""
    broker.join(pipe, feed, ADDRESS)
    broker.publish(feed, message(ADDRESS, message_id="1"))
    with Stream(broker, pipe, CBOR_SEQ) as stream:
        assert stream.ids() == ["1"]


def test_closed_stream_is_noticed(broker: Client, feed: str) -> None:
    """Section 5: who has gone is not sent to: an ondemand pipe takes nothing more for it."""
    jobs = broker.create_feed(unique("jobs"), "rotator")
    gone, stays = (broker.create_joined(jobs, type="ondemand") for _ in range(2))
    with Stream(broker, gone, MULTIPART):
        pass
    with Stream(broker, stays, MULTIPART) as stream:
        broker.post_messages(jobs, message(message_id="1"))
        assert stream.ids() == ["1"]
    until(lambda: broker.messages(gone) == [])
