"""Section 5: many messages in one answer: GET {pipe}?messages=N."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from tests.conformance.client import Client, expect, unique
from tests.conformance.conftest import ADDRESS, READ, READ_BYTES, WAIT_SECONDS
from tests.conformance.documents import Element, binary, data_of, message, numbered, staged, text

pytestmark = pytest.mark.ours

LARGE = b"x" * 200_000


def batch(client: Client, pipe: str, most: int = 100) -> list[Element]:
    """Read up to so many messages of a pipe."""
    return client.document(expect(client.get(f"{pipe}?messages={most}"), 200))["message"]


def ids(found: list[Element]) -> list[str]:
    return [one["message_id"] for one in found]


def test_batch_has_whole_messages_in_order(speaker: Client, feed: str, pipe: str) -> None:
    """Section 5: a batch has the oldest messages, with their contents and their URIs."""
    speaker.publish(
        feed,
        message(ADDRESS, text("one"), message_id="1", header=[("colour", "red")]),
        message(ADDRESS, binary(b"\0\xff"), text("<two & \u00e9>"), message_id="2", reply_to="me"),
        message(ADDRESS, message_id="3"),
    )
    first, second = batch(speaker, pipe, 2)
    held = speaker.messages(pipe)
    assert [urlsplit(one["href"]).path for one in (first, second)] == [
        urlsplit(uri).path for uri in held[:2]
    ]
    for one in (first, second):  # as a reader of the message alone gets it
        assert speaker.receive(one["href"]) == {k: v for k, v in one.items() if k != "href"}
    assert data_of(first["content"][0]) == b"one"
    assert [data_of(content) for content in second["content"]] == [
        b"\0\xff",
        "<two & \u00e9>".encode(),
    ]


def test_last_acknowledges_all(speaker: Client, feed: str, pipe: str) -> None:
    """Section 5: one DELETE of the last message of a batch acknowledges all of it."""
    speaker.publish(feed, *numbered(5, address=ADDRESS))
    found = batch(speaker, pipe, 3)
    assert ids(found) == ["1", "2", "3"]
    speaker.acknowledge(found[-1]["href"])
    assert ids(batch(speaker, pipe, 3)) == ["4", "5"]


def test_batch_waits_for_its_first_message(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: on an empty pipe a batch waits, and is answered when the first message comes."""
    later = broker.on(0).get_later(f"{pipe}?messages=10")
    assert later.waits()
    broker.on(1).publish(feed, message(ADDRESS, message_id="first"))
    assert ids(broker.document(expect(later.answer(), 200))["message"]) == ["first"]


def test_wait_ends_when_the_client_prefers(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: `Prefer: wait` bounds the wait of a batch: 204 with `Preference-Applied`."""
    over = expect(broker.get(f"{pipe}?messages=10", prefer="wait=1"), 204)
    assert over.headers["Preference-Applied"] == "wait=1"
    assert "no-store" in over.headers["Cache-Control"]
    assert timedelta(seconds=0.9) < over.elapsed < timedelta(seconds=5)
    broker.publish(feed, message(ADDRESS))
    there = expect(broker.get(f"{pipe}?messages=10", prefer="wait=0"), 200)
    assert there.headers["Preference-Applied"] == "wait=0"
    assert "no-store" in there.headers["Cache-Control"]


def test_wait_ends_with_the_servers_maximum(small: Client) -> None:
    """Section 5: the wait of a batch has the server's maximum, as that of an asynclet."""
    over = expect(small.get(f"{small.create_pipe()}?messages=10"), 204)
    assert over.headers["Preference-Applied"] == f"wait={WAIT_SECONDS}"


def test_wait_ends_with_its_pipe(broker: Client, pipe: str) -> None:
    """Section 5: the wait of a batch ends with 404 when the pipe is deleted."""
    later = broker.on(0).get_later(f"{pipe}?messages=10")
    assert later.waits()
    broker.on(1).delete(pipe)
    expect(later.answer(), 404)
    expect(broker.get(f"{pipe}?messages=10"), 404)


def test_head_of_a_batch_never_waits(broker: Client, feed: str, pipe: str) -> None:
    """Section 2: HEAD never waits, and says what GET would."""
    expect(broker.head(f"{pipe}?messages=10"), 204)
    broker.publish(feed, message(ADDRESS))
    answer = expect(broker.head(f"{pipe}?messages=10"), 200)
    assert answer.headers["Content-Type"] == broker.format.media_type
    assert answer.content == b""


def test_large_contents_come_by_href(speaker: Client, feed: str, pipe: str) -> None:
    """Section 5: in a batch as in a message alone, large contents come by `href`."""
    speaker.publish(feed, message(ADDRESS, staged(speaker.stage(feed, LARGE)), text("small")))
    speaker.publish(feed, message(ADDRESS, binary(LARGE, "image/png")))
    (first, second) = batch(speaker, pipe)
    assert speaker.get(first["content"][0]["href"]).content == LARGE
    assert data_of(first["content"][1]) == b"small"
    assert speaker.get(second["content"][0]["href"]).headers["Content-Type"] == "image/png"


def test_number_of_messages_is_bounded(small: Client) -> None:
    """Section 5: a server's limit is the most that a batch has, whatever is asked for."""
    pipe = small.create_pipe()
    feed = small.create_feed(unique("feed"))
    small.join(pipe, feed, ADDRESS)
    small.publish(feed, *numbered(READ + 1, address=ADDRESS))
    assert len(batch(small, pipe, 1_000_000)) == READ


def test_bytes_of_a_batch_are_bounded_but_it_has_a_message(small: Client) -> None:
    """Section 5: a batch ends before its messages are too large together."""
    pipe = small.create_pipe()
    feed = small.create_feed(unique("feed"))
    small.join(pipe, feed, ADDRESS)
    for size in (READ_BYTES // 2, READ_BYTES * 2, 1):
        small.publish(feed, message(ADDRESS, text("x" * size), message_id=str(size)))
    assert ids(batch(small, pipe)) == [str(READ_BYTES // 2)]
    small.acknowledge(small.messages(pipe)[0])
    assert ids(batch(small, pipe)) == [str(READ_BYTES * 2)]


def test_redelivered_messages_and_dead_letters_say_so(speaker: Client) -> None:
    """Section 8: in a batch, too, messages say what became of them."""
    dead = speaker.create_feed(unique("dead"), "fanout")
    graves = speaker.create_joined(dead)
    jobs = speaker.create_feed(unique("jobs"), "rotator", dead_letter=dead)
    first = speaker.create_joined(jobs)
    speaker.post_messages(jobs, message(message_id="job"))
    assert "redelivered" not in batch(speaker, first)[0]
    speaker.delete(first)
    second = speaker.create_joined(jobs)
    (again,) = batch(speaker, second)
    assert (again["message_id"], again["redelivered"]) == ("job", "1")
    speaker.post_messages(jobs, message(message_id="late", expiration="0"))
    (letter,) = batch(speaker, graves)
    assert {h["name"]: h["value"] for h in letter["header"]}["x-death-reason"] == "expired"


def test_ondemand_pipe_takes_one(broker: Client) -> None:
    """Section 7: an ondemand pipe has one message at most, also for who asks for more."""
    jobs = broker.create_feed(unique("jobs"), "rotator")
    pipe = broker.create_joined(jobs, type="ondemand")
    later = broker.get_later(f"{pipe}?messages=10")
    assert later.waits()
    broker.post_messages(jobs, *numbered(2))
    (first,) = broker.document(expect(later.answer(), 200))["message"]
    assert (first["message_id"], ids(batch(broker, pipe))) == ("1", ["1"])
    broker.acknowledge(first["href"])
    expect(broker.head(f"{pipe}?messages=10"), 204)  # it takes none
    assert ids(batch(broker, pipe)) == ["2"]


@pytest.mark.parametrize(
    "query",
    [
        *("messages=0", "messages=-1", "messages=ten", "messages=", "messages", "messages=1.0"),
        *("message=10", "messages=10&messages=10", "messages=10&other=1", "other=1", "MESSAGES=1"),
    ],
)
def test_query_that_is_not_understood_is_refused(broker: Client, pipe: str, query: str) -> None:
    """Section 5: what a pipe's query may not have is 400, in one sentence."""
    answer = expect(broker.get(f"{pipe}?{query}"), 400)
    assert answer.text.count("\n") == 1
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_types_that_cannot_be_written_are_501(broker: Client, pipe: str) -> None:
    """Section 2: a batch is a document, in a type of documents."""
    expect(broker.get(f"{pipe}?messages=10", accept="image/png"), 501)
    expect(broker.get(f"{pipe}?messages=10", accept="text/event-stream"), 501)
    answer = expect(broker.get(f"{pipe}?messages=1", accept="", prefer="wait=0"), 204)
    assert answer.content == b""
