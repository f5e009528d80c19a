"""Section 4: publishing messages, and the contents they carry."""

import time

import pytest

from tests.conformance.client import Client, expect, unique
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
    restms,
    staged,
    text,
)

MANY_BYTES = bytes(range(256)) * 4096  # 1 MiB
EMBEDDED_AT_MOST = 64 * 1024


@pytest.fixture
def other_feed(broker: Client) -> str:
    return broker.create_feed(unique("other"))


# What is a message, what is a content


@pytest.mark.parametrize(
    "format", [XML, JSON, TEXT_XML, pytest.param(CBOR, marks=pytest.mark.ours)], ids=str
)
def test_structured_types_publish(broker: Client, feed: str, pipe: str, format: Format) -> None:
    """Section 4: POST to a feed with a structured type publishes the messages in it."""
    publisher = broker.in_format(format)
    assert publisher.publish(feed, message(ADDRESS, text("one")), message(ADDRESS)) == [1, 1]
    first, second = broker.receive_all(pipe)
    assert data_of(first["content"][0]) == b"one"
    assert "content" not in second


@pytest.mark.parametrize(
    "media_type", ["text/plain", "image/png", "application/json", "application/xml", "text/html"]
)
def test_any_other_type_stages_a_content(
    broker: Client, feed: str, pipe: str, media_type: str
) -> None:
    """Section 4: any other type is staged: 201, `Location`, no body; `application/json` is too."""
    body = b'{"restms": {"message": [{"address": "sports.football"}]}}'
    headers = {"content-type": media_type, "accept": ""}
    response = expect(broker.request("POST", feed, body=body, headers=headers), 201)
    assert response.content == b""
    assert "Content-Type" not in response.headers
    got = expect(broker.get(response.headers["Location"]), 200)
    assert got.content == body
    assert got.headers["Content-Type"].partition(";")[0] == media_type
    assert broker.messages(pipe) == []


@pytest.mark.ours
def test_body_without_a_type_is_staged_as_octets(broker: Client, feed: str) -> None:
    """Section 4: a body that says no type is a content all the same."""
    response = expect(broker.request("POST", feed, body=b"x", headers={"accept": ""}), 201)
    got = broker.get(response.headers["Location"])
    assert got.headers["Content-Type"] == "application/octet-stream"


def test_only_the_mime_type_is_kept_with_a_content(broker: Client, feed: str) -> None:
    """Section 4: of a staged content's headers only the MIME type is kept."""
    headers = {
        "content-type": "text/plain",
        "content-language": "de",
        "content-disposition": "attachment",
        "x-mine": "1",
    }
    response = expect(broker.request("POST", feed, body=b"x", headers=headers), 201)
    got = broker.get(response.headers["Location"])
    assert got.headers["Content-Type"].startswith("text/plain")
    assert not {"content-language", "content-disposition", "x-mine"} & set(got.headers)


def test_content_is_read_with_its_own_type_whatever_accept_says(broker: Client, feed: str) -> None:
    """Section 4: a content has one representation: its bytes, under the type they came with."""
    content = broker.stage(feed, b"PNG", "image/png")
    assert broker.get(content, accept="application/json").headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("document", [restms(), restms(message=[])], ids=["empty", "no message"])
@pytest.mark.ours
def test_document_without_a_message_is_400(
    broker: Client, feed: str, document: dict[str, object]
) -> None:
    """Section 4: a structured document publishes one message or many, not none."""
    expect(broker.in_format(JSON).post(feed, document), 400)


@pytest.mark.ours
@pytest.mark.parametrize("noun", ["feed", "pipe"])
def test_document_of_another_noun_is_400(broker: Client, feed: str, noun: str) -> None:
    """Section 4: a feed takes messages, no feeds and no pipes."""
    expect(broker.post(feed, restms(**{noun: [{"title": "x"}]})), 400)


# Contents


def test_message_names_staged_contents(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: a message names the contents that were staged for it by `href`."""
    broker.publish(feed, message(ADDRESS, staged(broker.stage(feed, b"PNG", "image/png"))))
    (received,) = broker.receive_all(pipe)
    (content,) = received["content"]
    assert (content["type"], data_of(content)) == ("image/png", b"PNG")


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello", bytes(range(256))], ids=len)
def test_embedded_contents_come_out_as_they_went_in(
    speaker: Client, feed: str, pipe: str, data: bytes
) -> None:
    """Section 4: a message embeds contents in base64, of zero bytes and more."""
    speaker.publish(feed, message(ADDRESS, binary(data, "image/png")))
    (received,) = speaker.receive_all(pipe)
    (content,) = received["content"]
    assert (content["type"], data_of(content)) == ("image/png", data)


def test_contents_of_all_kinds_mix_and_keep_their_order(
    speaker: Client, feed: str, pipe: str
) -> None:
    """Section 4: staged and embedded contents, plain and base64, in any mix, number and order."""
    contents = [
        text("first"),
        staged(speaker.stage(feed, b"second", "image/png")),
        binary(b"\x03rd"),
        staged(speaker.stage(feed, b"", "image/gif")),
        text("", "text/html"),
        text("sixth", "text/html"),
    ]
    speaker.publish(feed, message(ADDRESS, *contents))
    (received,) = speaker.receive_all(pipe)
    assert [(content["type"], data_of(content)) for content in received["content"]] == [
        ("text/plain", b"first"),
        ("image/png", b"second"),
        ("application/octet-stream", b"\x03rd"),
        ("image/gif", b""),
        ("text/html", b""),
        ("text/html", b"sixth"),
    ]


def test_contents_may_be_very_large(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: a large content goes in and comes out, byte for byte, staged or embedded."""
    contents = [staged(broker.stage(feed, MANY_BYTES, "image/png")), binary(MANY_BYTES)]
    broker.publish(feed, message(ADDRESS, *contents))
    (received,) = broker.receive_all(pipe)
    for content, media_type in zip(
        received["content"], ["image/png", "application/octet-stream"], strict=True
    ):
        got = broker.get(content["href"])
        assert got.headers["Content-Type"] == content["type"] == media_type
        assert got.content == MANY_BYTES


@pytest.mark.ours
@pytest.mark.parametrize("how", ["staged", "embedded"])
@pytest.mark.parametrize(
    ("size", "within"), [(EMBEDDED_AT_MOST, True), (EMBEDDED_AT_MOST + 1, False)]
)
def test_contents_up_to_64_kib_come_embedded(
    speaker: Client, feed: str, pipe: str, how: str, size: int, within: bool
) -> None:
    """Section 4: a content of up to 64 KiB comes within its message, a larger one by `href`."""
    data = b"x" * size
    content = staged(speaker.stage(feed, data)) if how == "staged" else binary(data)
    speaker.publish(feed, message(ADDRESS, content))
    (received,) = speaker.receive_all(pipe)
    (delivered,) = received["content"]
    assert delivered["type"] == "application/octet-stream"
    assert ("href" in delivered) is not within
    got = data_of(delivered) if within else speaker.get(delivered["href"]).content
    assert got == data


def test_staged_content_can_be_published_once(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: a staged content can be published once: again is 404, and nothing is routed."""
    content = broker.stage(feed, b"once")
    broker.publish(feed, message(ADDRESS, staged(content)))
    again = restms(message=[message(ADDRESS, message_id="again", content=[staged(content)])])
    expect(broker.post(feed, again), 404)
    assert len(broker.messages(pipe)) == 1


def test_staged_content_published_to_nobody_is_published(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 4: a content is used up by its message even where no join wanted that."""
    content = broker.stage(feed, b"once")
    assert broker.publish(feed, message("nobody", staged(content))) == [0]
    expect(broker.post(feed, restms(message=[message(ADDRESS, staged(content))])), 404)
    assert broker.messages(pipe) == []


@pytest.mark.parametrize("twice_in", ["one message", "two messages"])
def test_staged_content_cannot_be_named_twice(
    broker: Client, feed: str, pipe: str, twice_in: str
) -> None:
    """Section 4: nor can it be published twice by one request: 404, and nothing is routed."""
    content = staged(broker.stage(feed, b"once"))
    one = [message(ADDRESS, content, content)]
    two = [message(ADDRESS, content), message(ADDRESS, content)]
    document = restms(message=one if twice_in == "one message" else two)
    expect(broker.post(feed, document), 404)
    assert broker.messages(pipe) == []


def test_content_staged_on_another_feed_is_403(
    broker: Client, feed: str, other_feed: str, pipe: str
) -> None:
    """Section 4: a content staged on another feed is 403, nothing is routed, and it stays there."""
    content = broker.stage(other_feed, b"theirs")
    document = restms(message=[message(ADDRESS, staged(content))])
    expect(broker.post(feed, document), 403)
    assert broker.messages(pipe) == []
    expect(broker.post(other_feed, document), 200)


def test_content_that_was_never_staged_is_404(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: a content that is not there, or is none, is 404, and nothing is routed."""
    gone = broker.stage(feed, b"gone")
    broker.delete(gone)
    for href in (gone, pipe, feed, "/restms/resource/never", "http://elsewhere.example/x"):
        expect(broker.post(feed, restms(message=[message(ADDRESS, staged(href))])), 404)
    assert broker.messages(pipe) == []


def test_request_is_routed_whole_or_not_at_all(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: all contents of all messages are checked before any message is routed."""
    good = broker.stage(feed, b"good")
    messages = [message(ADDRESS, staged(good)), message(ADDRESS, staged("/restms/resource/none"))]
    expect(broker.post(feed, restms(message=messages)), 404)
    assert broker.messages(pipe) == []
    # The good one was not used up: it can be published still.
    broker.publish(feed, messages[0])
    (received,) = broker.receive_all(pipe)
    assert data_of(received["content"][0]) == b"good"


@pytest.mark.ours
def test_staged_content_expires(small: Client) -> None:
    """Section 4: staged contents that nobody publishes expire."""
    feed = small.create_feed(unique("feed"))
    content = small.stage(feed, b"forgotten")
    deadline = time.monotonic() + 10
    while small.get(content).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    expect(small.post(feed, restms(message=[message(ADDRESS, staged(content))])), 404)


@pytest.mark.ours
def test_published_content_is_reached_through_its_message_alone(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 4: the publisher's URI of a content ends with its publication."""
    content = broker.stage(feed, b"once")
    broker.publish(feed, message(ADDRESS, staged(content)))
    expect(broker.get(content), 404)
    expect(broker.delete(content), 200)
    (received,) = broker.receive_all(pipe)
    assert data_of(received["content"][0]) == b"once"


# Order


def test_order_of_one_writer_is_kept(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: the order of one writer's messages is kept, whatever node takes each request."""
    numbers = iter(range(30))
    for size in (1, 5, 1, 1, 10, 2):
        broker.publish(
            feed, *[message(ADDRESS, message_id=str(next(numbers))) for _ in range(size)]
        )
    received = [int(sent["message_id"]) for sent in broker.receive_all(pipe)]
    assert received == list(range(20))


def test_order_is_kept_into_each_pipe(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: the order holds in each pipe, where one gets only some of the messages."""
    second = broker.create_pipe()
    for address in (ADDRESS, "other"):
        broker.join(second, feed, address)
    sent = [message(address, message_id=str(n)) for n, address in enumerate([ADDRESS, "other"] * 4)]
    broker.publish(feed, *sent)
    assert [received["message_id"] for received in broker.receive_all(pipe)] == list("0246")
    assert [received["message_id"] for received in broker.receive_all(second)] == list("01234567")


def test_messages_of_many_writers_all_arrive(broker: Client, feed: str, pipe: str) -> None:
    """Section 4: writers at the same time, on all nodes, lose nothing, and each keeps its order."""
    from concurrent.futures import ThreadPoolExecutor

    def write(writer: int) -> None:
        for n in range(5):
            broker.publish(feed, message(ADDRESS, message_id=f"{writer}-{n}"))

    with ThreadPoolExecutor(6) as writers:
        list(writers.map(write, range(6)))
    received = [listed["message_id"] for listed in broker.listed(pipe)[:-1]]
    assert len(received) == 30
    for writer in range(6):
        own = [name for name in received if name.startswith(f"{writer}-")]
        assert own == [f"{writer}-{n}" for n in range(5)]
