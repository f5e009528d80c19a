"""Publish, deliver, acknowledge: what is told of each, and how one leads to the other."""

import cbor2
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.access.nodes import Nodes
from tests.conformance.client import Client
from tests.conformance.documents import CBOR, JSON, XML, Format, message
from tests.conformance.streaming import CBOR_SEQ, MULTIPART, SSE, Stream
from tests.conformance.websocket import WebSocket
from tests.tracing.conftest import (
    PARENT,
    SAMPLED,
    TRACE,
    Spans,
    attributes,
    headers,
    linked,
    parent,
    traceparent,
)
from tests.waiting import wait_until

FORMATS = [XML, JSON, CBOR]
OTHER = f"00-{TRACE[::-1]}-{PARENT[::-1]}-01"


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_a_message_from_its_publisher_to_its_acknowledgement(
    client: Client, spans: Spans, feed: str, pipe: str, format: Format
) -> None:
    client = client.in_format(format)
    client.post_messages(feed, message("a", message_id="m1"), traceparent=SAMPLED)
    published = spans.one("publish")
    assert (published.name, published.kind) == ("publish traced", SpanKind.PRODUCER)
    assert (parent(published), traceparent(published)[3:35]) == (PARENT, TRACE)
    assert attributes(published) == {
        "messaging.system": "restms",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "traced",
        "messaging.restms.domain": "default",
        "messaging.message.id": "m1",
        "http.request.method": "POST",
    }

    [uri] = client.messages(pipe)
    answer = client.get(uri, traceparent=OTHER)
    [received] = client.document(answer)["message"]
    assert headers(received) == {"traceparent": traceparent(published)}
    delivered = spans.one("deliver")
    assert (delivered.name, delivered.kind) == ("deliver", SpanKind.CONSUMER)
    assert (parent(delivered), linked(delivered)) == (PARENT[::-1], [traceparent(published)])
    told = attributes(delivered)
    assert 0 <= told.pop("messaging.restms.wait.duration") < 10
    assert told == {
        "messaging.system": "restms",
        "messaging.operation.name": "deliver",
        "messaging.operation.type": "receive",
        "messaging.destination.anonymous": True,
        "messaging.destination.temporary": True,
        "messaging.restms.domain": "default",
        "messaging.message.id": "m1",
        "http.request.method": "GET",
    }

    client.delete(uri, traceparent=OTHER)
    settled = spans.one("acknowledge")
    assert (settled.name, settled.kind) == ("acknowledge", SpanKind.SERVER)
    assert parent(settled) == PARENT[::-1]
    assert attributes(settled)["messaging.operation.type"] == "settle"


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_the_messages_of_a_batch_carry_one_context(
    client: Client, spans: Spans, feed: str, pipe: str, format: Format
) -> None:
    client = client.in_format(format)
    client.publish(feed, *[message("a", {"value": "x"}, header=[("k", "v")])] * 3, message("a"))
    first = spans.one("publish")
    assert parent(first) == ""
    assert attributes(first)["messaging.batch.message_count"] == 4
    client.publish(feed, message("a"))
    answer = client.get(f"{pipe}?messages=10")
    carried = [headers(one)["traceparent"] for one in client.document(answer)["message"]]
    one, another = [traceparent(span) for span in spans.all("publish")]
    assert carried == [one] * 4 + [another]
    delivered = spans.one("deliver")
    assert linked(delivered) == [one, another]
    assert attributes(delivered)["messaging.batch.message_count"] == 5
    assert "messaging.message.id" not in attributes(delivered)


@pytest.mark.parametrize("kind", [SSE, MULTIPART, CBOR_SEQ])
def test_what_a_stream_delivers(
    client: Client, spans: Spans, feed: str, pipe: str, kind: str
) -> None:
    with Stream(client, pipe, kind, traceparent=OTHER) as stream:
        client.publish(feed, message("a"))
        [received] = stream.take()
        told = headers(received)
        wait_until(lambda: spans.all("deliver"))
    published, delivered = spans.one("publish"), spans.one("deliver")
    assert told == {"traceparent": traceparent(published)}
    assert (parent(delivered), linked(delivered)) == (PARENT[::-1], [traceparent(published)])
    assert attributes(delivered)["messaging.batch.message_count"] == 1


@pytest.mark.parametrize("subprotocol", ["restms", "restms.cbor"])
def test_what_a_web_socket_delivers_and_acknowledges(
    client: Client, spans: Spans, feed: str, pipe: str, subprotocol: str
) -> None:
    with WebSocket(client, pipe, subprotocol, headers=(("traceparent", OTHER),)) as socket:
        client.publish(feed, message("a"))
        received = socket.message()
        socket.acknowledge(received["href"])
        settled = spans.one("acknowledge")
    published, delivered = spans.one("publish"), spans.one("deliver")
    assert headers(received) == {"traceparent": traceparent(published)}
    assert linked(delivered) == [traceparent(published)]
    assert (parent(delivered), parent(settled)) == (PARENT[::-1], PARENT[::-1])


def test_a_stream_of_messages_is_published_in_spans_of_its_batches(
    client: Client, spans: Spans, feed: str, pipe: str
) -> None:
    body = b"".join(cbor2.dumps(message("a")) for _ in range(3))
    client.request(
        "POST", feed, body=body, headers={"content-type": CBOR_SEQ, "traceparent": SAMPLED}
    )
    published = spans.all("publish")
    assert {parent(one) for one in published} == {PARENT}
    counts = [attributes(one).get("messaging.batch.message_count", 1) for one in published]
    assert sum(counts) == 3
    carried = [headers(one)["traceparent"] for one in client.receive_all(pipe)]
    assert carried == [
        traceparent(one) for one, count in zip(published, counts, strict=True) for _ in range(count)
    ]


def test_a_context_of_the_publisher_is_left_as_it_is(
    client: Client, spans: Spans, feed: str, pipe: str
) -> None:
    own = message("a", header=[("Traceparent", OTHER), ("k", "v")])
    client.publish(feed, own, message("a", header=[("k", "w")]))
    published = spans.one("publish")
    first, second = client.receive_all(pipe)
    assert headers(first) == {"Traceparent": OTHER, "k": "v"}
    assert headers(second) == {"k": "w", "traceparent": traceparent(published)}
    assert linked(published) == [OTHER]
    assert [linked(one) for one in spans.all("deliver")] == [[OTHER], [traceparent(published)]]


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_messages_that_are_matched_by_headers_carry_it_and_are_not_matched_by_it(
    client: Client, spans: Spans, format: Format
) -> None:
    client = client.in_format(format)
    feed = client.create_feed("by-headers", "headers")
    red = [{"name": "colour", "value": "red"}]
    pipe = client.create_joined(feed, header=red)
    by_context = client.create_joined(feed, header=[{"name": "traceparent", "value": SAMPLED}])
    client.post_messages(feed, message("a", header=[("colour", "red")]), traceparent=SAMPLED)
    published = spans.one("publish")
    [received] = client.receive_all(pipe)
    assert headers(received) == {"colour": "red", "traceparent": traceparent(published)}
    assert client.messages(by_context) == []


@pytest.mark.parametrize(
    "told",
    [
        *("", "x", SAMPLED.upper(), SAMPLED[:-1], SAMPLED + "-more", "ff" + SAMPLED[2:]),
        *(f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", SAMPLED + ", " + OTHER),
        "00-" + "a" * 10_000,
    ],
)
def test_what_is_no_context_begins_a_trace(
    client: Client, spans: Spans, feed: str, pipe: str, told: str
) -> None:
    client.post_messages(feed, message("a"), traceparent=told)
    published = spans.one("publish")
    assert parent(published) == ""
    assert headers(client.consume(pipe)) == {"traceparent": traceparent(published)}


def test_a_later_version_is_read_as_far_as_it_is_known(
    client: Client, spans: Spans, feed: str
) -> None:
    client.post_messages(feed, message("a"), traceparent=f"01{SAMPLED[2:]}-more")
    assert parent(spans.one("publish")) == PARENT


def test_what_is_not_sampled_is_carried_on_but_not_told(
    client: Client, spans: Spans, feed: str, pipe: str
) -> None:
    not_sampled = SAMPLED[:-1] + "0"
    client.post_messages(feed, message("a"), traceparent=not_sampled)
    carried = headers(client.receive_all(pipe)[0])["traceparent"]
    assert carried.startswith(f"00-{TRACE}-")
    assert carried.endswith("-00")
    assert carried[36:52] != PARENT
    assert spans.all("publish") == []


def test_a_state_goes_with_its_context_and_baggage_does_not(
    client: Client, spans: Spans, feed: str, pipe: str
) -> None:
    client.post_messages(
        feed, message("a"), traceparent=SAMPLED, tracestate="a=1,b=2", baggage="k=v"
    )
    published = spans.one("publish")
    [received] = client.receive_all(pipe)
    carried = {"tracestate": "a=1,b=2", "traceparent": traceparent(published)}
    assert headers(received) == carried
    client.in_format(CBOR).get(f"{pipe}?messages=1")
    for delivered in spans.all("deliver"):
        assert dict(delivered.links[0].context.trace_state) == {"a": "1", "b": "2"}
    client.delete(client.messages(pipe)[0])
    client.post_messages(feed, message("a"), traceparent=SAMPLED, tracestate="a=" + "1" * 600)
    assert [*headers(client.receive_all(pipe)[0])] == ["traceparent"]


@pytest.mark.parametrize("node", [0, 1], ids=["lane", "no lane"])
def test_a_wait_is_told_and_is_no_part_of_the_span(
    client: Client, nodes: Nodes, spans: Spans, feed: str, pipe: str, node: int
) -> None:
    waiting = client.on(node).get_later(client.asynclet(pipe), prefer="wait=20")
    nodes.until_parked()
    assert waiting.waits()
    client.publish(feed, message("a"))
    waiting.answer()
    published, delivered = spans.one("publish"), spans.one("deliver")
    assert attributes(delivered)["messaging.restms.wait.duration"] > 0.1
    assert delivered.start_time > published.start_time
    assert (delivered.end_time - delivered.start_time) / 1e9 < 0.1


def test_what_delivers_nothing_has_no_span(client: Client, spans: Spans, pipe: str) -> None:
    next_one = client.asynclet(pipe)
    assert client.get(next_one, prefer="wait=0").status_code == 204
    assert client.get(f"{pipe}?messages=5", prefer="wait=0").status_code == 204
    assert client.head(next_one).status_code == 204
    assert client.get(pipe).status_code == 200
    assert spans.all() == []


def test_what_goes_wrong_is_told_by_its_word(client: Client, spans: Spans, feed: str) -> None:
    gone = client.create_joined(feed, "a")
    client.publish(feed, message("a"))
    [uri] = client.messages(gone)
    spans.clear()
    client.delete(uri, if_match='"1-x"')
    client.delete(gone)
    client.get(uri)
    client.get(f"{gone}?messages=5")
    client.request("POST", feed, body=b"<", headers={"content-type": XML.media_type})
    client.post(f"{feed}-not-there", {"restms": {"message": [message("a")]}})
    assert [
        (one.name, attributes(one)["error.type"], attributes(one)["http.response.status_code"])
        for one in spans.all()
    ] == [
        ("acknowledge", "precondition_failed", 412),
        ("deliver", "not_found", 404),
        ("deliver", "not_found", 404),
        ("publish traced", "bad_request", 400),
        ("publish traced-not-there", "not_found", 404),
    ]
    for span in spans.all():
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert span.events == ()


def test_a_repeat_is_known_whatever_its_context_is(
    client: Client, spans: Spans, feed: str, pipe: str
) -> None:
    for told in (SAMPLED, OTHER, ""):
        client.in_format(CBOR).post_messages(
            feed, message("a"), idempotency_key="once", traceparent=told
        )
    [received] = client.receive_all(pipe)
    assert headers(received)["traceparent"] == traceparent(spans.all("publish")[0])


def test_feeds_of_other_domains_have_their_domain_in_the_name(client: Client, spans: Spans) -> None:
    client.publish("/restms/feed/sales/orders", message("a"))
    published = spans.one("publish")
    assert published.name == "publish sales/orders"
    assert attributes(published)["messaging.restms.domain"] == "sales"


def test_a_private_feed_has_no_name(client: Client, spans: Spans) -> None:
    client.publish(client.create_feed(""), message("a"))
    published = spans.one("publish")
    assert published.name == "publish"
    assert attributes(published)["messaging.destination.anonymous"] is True
    assert "messaging.destination.name" not in attributes(published)
