"""Section 8: expiration, priority, delay, repeats and dead letters, on feeds of every type."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.client import DOMAIN, Client, expect, unique, until
from tests.conformance.conftest import ADDRESS, PER_FEED, PER_PIPE
from tests.conformance.documents import (
    JSON,
    Element,
    data_of,
    message,
    numbered,
    restms,
    staged,
    text,
)

pytestmark = pytest.mark.ours

TYPES = ("", "fanout", "direct", "topic", "headers", "rotator", "service")
MONTH = 30 * 24 * 3600
LONG = 60_000  # milliseconds in which any test is over
REDELIVERIES = 5

every_type = pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_ or "default")


@pytest.fixture
def letters(broker: Client) -> str:
    """A private rotator, that is to be a dead-letter feed."""
    return broker.create_feed(type="rotator")


def feed_with(letters: str, broker: Client, type: str = "") -> str:
    """Make a public feed with a dead-letter feed."""
    return broker.create_feed(unique("feed"), type, dead_letter=letters)


def headers_of(received: Element) -> dict[str, str]:
    """Return a message's headers; none may be there twice."""
    headers = {header["name"]: header["value"] for header in received.get("header", [])}
    assert len(headers) == len(received.get("header", []))
    return headers


def name_of(feed: str) -> str:
    return urlsplit(feed).path.rpartition("/")[2]


def path_of(uri: str) -> str:
    return urlsplit(uri).path


def now_of(response: httpx.Response) -> datetime:
    """Return the server's time, in whole seconds."""
    return parsedate_to_datetime(response.headers["Date"])


# Expiration


@every_type
def test_expired_message_is_gone_and_the_next_one_is_there(broker: Client, type_: str) -> None:
    """Section 8: an expired message is not listed, is 404, and keeps its number."""
    feed = broker.create_feed(type=type_)
    pipe = broker.create_joined(feed, ADDRESS)
    first = broker.asynclet(pipe)
    broker.post_messages(
        feed,
        message(ADDRESS, message_id="short", expiration="1"),
        message(ADDRESS, message_id="long", expiration=f"{LONG}"),
        message(ADDRESS, message_id="lasting"),
    )
    until(lambda: broker.ids(pipe) == ["long", "lasting"])
    expect(broker.get(first), 404)
    assert path_of(broker.messages(pipe)[0]) != path_of(first)
    assert [got["message_id"] for got in broker.receive_all(pipe)] == ["long", "lasting"]


def test_message_that_has_not_expired_is_read_with_its_expiration(
    speaker: Client, feed: str, pipe: str
) -> None:
    """Section 8: until then it is a message like others, and its expiration can be read."""
    speaker.publish(feed, message(ADDRESS, text("news"), expiration=f"{LONG}"))
    (received,) = speaker.receive_all(pipe)
    assert received["expiration"] == f"{LONG}"
    assert data_of(received["content"][0]) == b"news"


def test_expired_message_leaves_the_queue(broker: Client) -> None:
    """Section 8: what expires in a feed's queue is not handed out, to readers of neither kind."""
    for type_ in ("", "ondemand"):
        feed = broker.create_feed(type="rotator")
        short = message(expiration="1", priority="9", message_id="short")
        broker.post_messages(feed, short, message(message_id="lasting"))
        pipe = broker.create_joined(feed, type=type_)
        assert broker.consume(pipe)["message_id"] == "lasting"
        expect(broker.get(broker.asynclet(pipe), prefer="wait=0"), 204)


def test_expired_messages_make_room(small: Client) -> None:
    """Section 8: an expired message leaves its pipe, or its queue, by itself."""
    full_pipe, full_queue = small.create_feed(), small.create_feed(type="rotator")
    pipe = small.create_joined(full_pipe)
    small.publish(full_pipe, *[message(expiration="1")] * PER_PIPE)
    small.post_messages(full_queue, *[message(expiration="1")] * PER_FEED)
    for feed, room in ((full_pipe, PER_PIPE), (full_queue, PER_FEED)):
        posted = restms(message=numbered(room))
        until(lambda feed=feed, posted=posted: small.post(feed, posted).is_success)
    for reader, room in ((pipe, PER_PIPE), (small.create_joined(full_queue), PER_FEED)):
        received = [small.consume(reader)["message_id"] for _ in range(room)]
        assert received == [str(n) for n in range(1, room + 1)]


def test_reader_who_waited_for_what_expired_reads_the_pipe_again(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 8: a wait for the number of a message that is expired when it comes ends with 404."""
    later = broker.get_later(broker.asynclet(pipe))
    assert later.waits()
    broker.publish(feed, message(ADDRESS, expiration="0"))
    expect(later.answer(), 404)
    later = broker.get_later(broker.asynclet(pipe))
    assert later.waits()
    broker.publish(feed, message(ADDRESS, message_id="next"))
    (received,) = broker.document(expect(later.answer(), 200))["message"]
    assert received["message_id"] == "next"


def test_ondemand_pipe_is_free_when_what_it_holds_expires(broker: Client) -> None:
    """Section 8: a message that expires in an ondemand pipe makes way for the next one."""
    feed = broker.create_feed(type="rotator")
    pipe = broker.create_joined(feed, type="ondemand")
    broker.post_messages(feed, message(message_id="1", expiration="1000"), message(message_id="2"))
    assert broker.receive(broker.asynclet(pipe))["message_id"] == "1"
    later = broker.get_later(broker.asynclet(pipe))
    (received,) = broker.document(expect(later.answer(), 200))["message"]
    assert received["message_id"] == "2"
    assert broker.ids(pipe) == ["2"]


# Priority


@pytest.mark.parametrize("type_", ["rotator", "service"])
def test_higher_priority_goes_first_in_a_queue(broker: Client, type_: str) -> None:
    """Section 8: in a queue a higher priority goes first; 0 is the default; then age counts."""
    for pipe_type in ("", "ondemand"):
        feed = broker.create_feed(type=type_)
        priorities = ["0", "9", "", "5", "9", "1", "5"]
        for n, priority in enumerate(priorities):
            broker.post_messages(feed, message(priority=priority, message_id=str(n)))
        pipe = broker.create_joined(feed, type=pipe_type)
        received = [broker.consume(pipe)["message_id"] for _ in priorities]
        assert received == ["1", "4", "3", "6", "5", "0", "2"]


@every_type
def test_order_in_a_pipe_is_that_of_arrival(broker: Client, type_: str) -> None:
    """Section 8: in a pipe priorities change nothing."""
    feed = broker.create_feed(type=type_)
    pipe = broker.create_joined(feed, ADDRESS)
    for n, priority in enumerate("0919"):
        broker.post_messages(feed, message(ADDRESS, priority=priority, message_id=str(n)))
    assert broker.ids(pipe) == ["0", "1", "2", "3"]


def test_message_that_comes_back_keeps_its_priority(broker: Client) -> None:
    """Section 8: what comes back to a queue stands where its priority and age place it."""
    feed = broker.create_feed(type="rotator")
    for n, priority in enumerate("155"):
        broker.post_messages(feed, message(priority=priority, message_id=str(n)))
    gone = broker.create_joined(feed, type="ondemand")
    assert broker.receive(broker.asynclet(gone))["message_id"] == "1"
    broker.post_messages(feed, message(priority="7", message_id="3"))
    expect(broker.delete(gone), 200)
    heir = broker.create_joined(feed, type="ondemand")
    assert [broker.consume(heir)["message_id"] for _ in range(4)] == ["3", "1", "2", "0"]


# What is malformed


@pytest.mark.parametrize(
    "terms",
    [
        {"expiration": "soon"},
        {"expiration": "-1"},
        {"expiration": "1.5"},
        {"expiration": "1s"},
        {"expiration": "9" * 30},
        {"priority": "10"},
        {"priority": "-1"},
        {"priority": "high"},
        {"priority": "1.0"},
        {"delay": "later"},
        {"delay": "-1"},
        {"delay": "0.5"},
        {"delay": "9" * 30},
        {"deliver_at": "tomorrow"},
        {"deliver_at": "2030-01-31"},
        {"deliver_at": "2030-01-31T12:00:00"},
        {"deliver_at": "2030-02-31T12:00:00Z"},
        {"deliver_at": "2030-01-31T25:00:00Z"},
        {"deliver_at": "1900000000"},
        {"deliver_at": "Thu, 31 Jan 2030 12:00:00 GMT"},
        {"delay": "1", "deliver_at": "2030-01-31T12:00:00Z"},
    ],
    ids=lambda terms: " ".join(terms.values()),
)
def test_malformed_terms_are_400(
    broker: Client, feed: str, pipe: str, terms: dict[str, str]
) -> None:
    """Section 8: such an attribute must be well-formed, and delay or deliver_at alone, else 400."""
    refused = broker.post(feed, restms(message=[message(ADDRESS), message(ADDRESS, **terms)]))
    assert expect(refused, 400).headers["RestMS-Error"] == "bad_request"
    assert broker.messages(pipe) == []


def test_terms_may_be_numbers(broker: Client) -> None:
    """Section 8: where the format has numbers, they may be given as such."""
    feed = broker.create_feed(type="rotator")
    terms = [{"priority": 0}, {"priority": 9, "expiration": LONG}, {"priority": 5, "delay": 1}]
    messages = [message(message_id=str(n), **each) for n, each in enumerate(terms)]
    broker.in_format(JSON).post_messages(feed, *messages)
    pipe = broker.create_joined(feed, type="ondemand")
    received = [broker.consume(pipe) for _ in terms]
    assert sorted(got["message_id"] for got in received) == ["0", "1", "2"]
    assert [got["priority"] for got in received if got["message_id"] == "1"] == ["9"]


# Delay


@every_type
def test_delayed_message_comes_at_its_time(broker: Client, type_: str) -> None:
    """Section 8: a message with a delay comes to who waits, after so many milliseconds."""
    feed = broker.create_feed(type=type_)
    pipe = broker.create_joined(feed, ADDRESS)
    later = broker.get_later(broker.asynclet(pipe))
    assert later.waits(0.05)
    posted = time.monotonic()
    broker.post_messages(feed, message(ADDRESS, text("news"), message_id="m-1", delay="300"))
    (received,) = broker.document(expect(later.answer(), 200))["message"]
    assert time.monotonic() - posted >= 0.29
    assert received["message_id"] == "m-1"
    assert data_of(received["content"][0]) == b"news"


def test_delayed_message_comes_to_an_ondemand_reader(broker: Client) -> None:
    """Section 8: a delayed message comes to a reader of an ondemand pipe as well."""
    feed = broker.create_feed(type="rotator")
    pipe = broker.create_joined(feed, type="ondemand")
    later = broker.get_later(broker.asynclet(pipe))
    posted = time.monotonic()
    broker.post_messages(feed, message(delay="300"))
    expect(later.answer(), 200)
    assert time.monotonic() - posted >= 0.29


def test_message_comes_at_the_date_that_it_names(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: a message with deliver_at comes then, in whatever zone the date is given."""
    later = broker.get_later(broker.asynclet(pipe))
    moment = now_of(broker.get(DOMAIN)) + timedelta(seconds=2)
    zones = (UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=3.5)))
    dates = [moment.astimezone(zone).isoformat().replace("+00:00", "Z") for zone in zones]
    messages = [message(ADDRESS, message_id=date, deliver_at=date) for date in dates]
    assert broker.publish(feed, *messages) == [0, 0, 0]
    assert now_of(expect(later.answer(), 200)) >= moment
    until(lambda: sorted(broker.ids(pipe)) == sorted(dates))


def test_message_of_a_past_date_comes_at_once(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: a message that was to be delivered already is."""
    later = broker.get_later(broker.asynclet(pipe))
    broker.publish(feed, message(ADDRESS, deliver_at="2009-06-30T12:00:00Z"))
    expect(later.answer(), 200)


def test_delayed_message_counts_as_reaching_nobody(speaker: Client, feed: str, pipe: str) -> None:
    """Section 8: in the answer a delayed message has reached nobody; and nothing lists it yet."""
    assert speaker.publish(feed, message(ADDRESS), message(ADDRESS, delay=f"{LONG}")) == [1, 0]
    assert len(speaker.messages(pipe)) == 1


def test_delay_is_for_the_server_only(speaker: Client, feed: str, pipe: str) -> None:
    """Section 8: delay and deliver_at are for the server: they are not carried to the reader."""
    past = "2009-06-30T12:00:00Z"
    speaker.publish(feed, message(ADDRESS, delay="1"), message(ADDRESS, deliver_at=past))
    until(lambda: len(speaker.messages(pipe)) == 2)
    for received in speaker.receive_all(pipe):
        assert not {"delay", "deliver_at"} & set(received)


def test_delayed_message_is_routed_to_the_joins_of_its_time(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 8: a delayed message goes to the joins that there are when its time has come."""
    (join,) = [each for each in broker.read(pipe)["join"] if each["address"] == ADDRESS]
    broker.publish(feed, message(ADDRESS, message_id="m-1", delay="1500"))
    broker.delete(join["href"])
    heir = broker.create_joined(feed, ADDRESS)
    until(lambda: broker.ids(heir) == ["m-1"])
    assert broker.messages(pipe) == []


def test_delayed_message_goes_with_its_feed(broker: Client) -> None:
    """Section 8: a delayed message is gone when its feed is deleted before its time."""
    name = unique("feed")
    broker.publish(broker.create_feed(name), message(ADDRESS, message_id="old", delay="600"))
    broker.delete(f"/restms/feed/{name}")
    feed = broker.create_feed(name)
    pipe = broker.create_joined(feed, ADDRESS)
    broker.publish(feed, message(ADDRESS, message_id="new", delay="900"))
    until(lambda: broker.messages(pipe) != [])
    assert broker.ids(pipe) == ["new"]


def test_delayed_message_expires_after_it_was_routed(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: the time to live counts from the moment when the message is routed."""
    later = broker.get_later(broker.asynclet(pipe))
    broker.publish(feed, message(ADDRESS, message_id="m-1", delay="1100", expiration="1000"))
    expect(later.answer(), 200)
    until(lambda: broker.messages(pipe) == [])


def test_delayed_messages_are_bounded(small: Client) -> None:
    """Section 8: a feed keeps so many delayed messages; beyond, 503 and nothing is kept."""
    feed = small.create_feed()
    small.publish(feed, *[message(ADDRESS, delay=f"{LONG}")] * (PER_FEED - 1))
    refused = small.post(feed, restms(message=[message(ADDRESS, delay=f"{LONG}")] * 2))
    assert expect(refused, 503).headers["RestMS-Error"] == "full"
    assert int(refused.headers["Retry-After"]) >= 0
    assert small.publish(feed, message(ADDRESS, delay=f"{LONG}")) == [0]


# Repeats, by the message's id


def test_message_id_is_routed_once(speaker: Client) -> None:
    """Section 8: a feed with dedup routes an id once; a repeat is answered as the first one."""
    feed = speaker.create_feed(dedup=f"{MONTH}")
    pipe = speaker.create_joined(feed, ADDRESS)
    assert speaker.publish(feed, message(ADDRESS, text("first"), message_id="1")) == [1]
    late = speaker.create_joined(feed, ADDRESS)
    again = message(ADDRESS, text("again"), message_id="1")
    assert speaker.publish(feed, again) == [1]
    assert speaker.publish(feed, again, message(ADDRESS, message_id="2")) == [1, 2]
    assert (speaker.ids(pipe), speaker.ids(late)) == (["1", "2"], ["2"])
    assert data_of(speaker.receive_all(pipe)[0]["content"][0]) == b"first"


@every_type
def test_message_id_is_routed_once_by_feeds_of_every_type(broker: Client, type_: str) -> None:
    """Section 8: dedup works on feeds of every type, within one request as well."""
    feed = broker.create_feed(type=type_, dedup="60")
    pipe = broker.create_joined(feed, ADDRESS)
    first, second = numbered(2, address=ADDRESS)
    for _ in range(2):
        broker.post_messages(feed, first, second, first)
    assert broker.ids(pipe) == ["1", "2"]


def test_message_id_is_routed_once_whoever_is_asked(broker: Client) -> None:
    """Section 8: of repeats on all nodes at one time, one is routed."""
    feed = broker.create_feed(dedup="60")
    pipe = broker.create_joined(feed, ADDRESS)
    with ThreadPoolExecutor(6) as writers:
        ids = [str(n) for n in range(5) for _ in range(6)]
        counts = writers.map(
            lambda each: broker.publish(feed, message(ADDRESS, message_id=each)), ids
        )
        assert list(counts) == [[1]] * len(ids)
    assert sorted(broker.ids(pipe)) == ["0", "1", "2", "3", "4"]


def test_messages_without_an_id_are_no_repeats(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: what has no id is always routed, and so are all on a feed without dedup."""
    deduplicating = broker.create_feed(dedup="60")
    broker.join(pipe, deduplicating, ADDRESS)
    for _ in range(2):
        assert broker.publish(deduplicating, message(ADDRESS), message(ADDRESS)) == [1, 1]
        assert broker.publish(feed, message(ADDRESS, message_id="1")) == [1]
    assert len(broker.messages(pipe)) == 6


def test_each_feed_knows_its_own_ids(broker: Client) -> None:
    """Section 8: an id that one feed has routed is new to another, and to one made anew."""
    name = unique("feed")
    pipe = broker.create_pipe()
    for feed in (broker.create_feed(dedup="60"), broker.create_feed(name, dedup="60")):
        broker.join(pipe, feed, ADDRESS)
        broker.publish(feed, message(ADDRESS, message_id="1"))
    broker.delete(f"/restms/feed/{name}")
    feed = broker.create_feed(name, dedup="60")
    broker.join(pipe, feed, ADDRESS)
    broker.publish(feed, message(ADDRESS, message_id="1"))
    assert broker.ids(pipe) == ["1"] * 3


def test_message_id_is_new_again_after_its_time(broker: Client) -> None:
    """Section 8: an id is routed once in so many seconds, counted from the first."""
    feed = broker.create_feed(dedup="1")
    pipe = broker.create_joined(feed, ADDRESS)
    began = time.monotonic()

    def routed_again() -> bool:
        broker.publish(feed, message(ADDRESS, message_id="1"))
        return len(broker.messages(pipe)) > 1

    until(routed_again)
    assert time.monotonic() - began >= 0.95


def test_refused_message_is_no_repeat(small: Client) -> None:
    """Section 8: refused requests are not remembered: the message is new when it is sent again."""
    feed = small.create_feed(dedup="60")
    pipe = small.create_joined(feed, ADDRESS)
    small.publish(feed, *[message(ADDRESS)] * PER_PIPE)
    expect(small.post(feed, restms(message=[message(ADDRESS, message_id="1")])), 503)
    for _ in range(PER_PIPE):
        small.consume(pipe)
    assert small.publish(feed, message(ADDRESS, message_id="1")) == [1]
    assert small.ids(pipe) == ["1"]


@pytest.mark.parametrize("dedup", ["often", "-1", f"{MONTH + 1}"])
def test_malformed_dedup_is_400(broker: Client, feed: str, dedup: str) -> None:
    """Section 8: dedup is a number of seconds, of 30 days at most."""
    expect(broker.post(DOMAIN, restms(feed=[{"dedup": dedup}])), 400)
    expect(broker.put(feed, restms(feed=[{"dedup": dedup}])), 400)
    assert "dedup" not in broker.read(feed)


def test_dedup_can_be_changed_and_taken_away(speaker: Client, feed: str) -> None:
    """Section 8: dedup is shown, can be changed by PUT, and an empty value takes it away."""
    pipe = speaker.create_joined(feed, ADDRESS)
    for dedup, held in (("60", 1), ("", 3), ("3600", 4)):
        expect(speaker.put(feed, restms(feed=[{"dedup": dedup}])), 200, 204)
        assert speaker.read(feed).get("dedup", "") == dedup
        for _ in range(2):
            speaker.publish(feed, message(ADDRESS, message_id=f"id {dedup}"))
        assert len(speaker.messages(pipe)) == held
    expect(speaker.put(feed, restms(feed=[{"title": "New"}])), 200, 204)
    assert speaker.read(feed)["dedup"] == "3600"


# Repeats, by the request's key


def test_repeated_request_routes_nothing(speaker: Client, feed: str, pipe: str) -> None:
    """Section 8: a repeat under the same Idempotency-Key is answered as the first time."""
    document, key = restms(message=numbered(2, address=ADDRESS)), unique("key")
    first = expect(speaker.post(feed, document, idempotency_key=key), 200)
    late = speaker.create_joined(feed, ADDRESS)
    again = expect(speaker.post(feed, document, idempotency_key=key), 200)
    assert speaker.document(again) == speaker.document(first)
    assert speaker.document(first) == {"message": [{"count": "1"}, {"count": "1"}]}
    assert (speaker.ids(pipe), speaker.ids(late)) == (["1", "2"], [])


@every_type
def test_repeated_request_routes_nothing_on_feeds_of_every_type(broker: Client, type_: str) -> None:
    """Section 8: the key works on feeds of every type, and without one nothing is a repeat."""
    feed, key = broker.create_feed(type=type_), unique("key")
    pipe = broker.create_joined(feed, ADDRESS)
    first = broker.post_messages(feed, *numbered(1, address=ADDRESS), idempotency_key=key)
    again = broker.post_messages(feed, *numbered(1, address=ADDRESS), idempotency_key=key)
    assert again.content == first.content
    assert broker.ids(pipe) == ["1"]
    broker.post_messages(feed, *numbered(1, address=ADDRESS))
    assert broker.ids(pipe) == ["1", "1"]


def test_request_is_routed_once_whoever_is_asked(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: of repeats on all nodes at one time, one is routed."""
    key = unique("key")

    def post(_: int) -> list[int]:
        answer = broker.post_messages(feed, message(ADDRESS), idempotency_key=key)
        return [int(routed["count"]) for routed in broker.document(answer)["message"]]

    with ThreadPoolExecutor(6) as writers:
        assert list(writers.map(post, range(12))) == [[1]] * 12
    assert len(broker.messages(pipe)) == 1


def test_repeated_request_may_name_what_it_has_published(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 8: a repeat is answered as the first time also where its content is used up."""
    content, key = broker.stage(feed, b"once"), unique("key")
    for _ in range(2):
        broker.post_messages(feed, message(ADDRESS, staged(content)), idempotency_key=key)
    (received,) = broker.receive_all(pipe)
    assert data_of(received["content"][0]) == b"once"


def test_repeated_request_tells_of_full_pipes_as_the_first(small: Client) -> None:
    """Section 8: a repeat is answered as the first time, `RestMS-Full` included."""
    feed, key = small.create_feed(type="fanout"), unique("key")
    full = small.create_joined(feed)
    small.post_messages(feed, *numbered(PER_PIPE))
    pipe = small.create_joined(feed)
    first = small.post_messages(feed, *numbered(1, first=9), idempotency_key=key)
    assert first.headers["RestMS-Full"] == "1"
    small.consume(full)
    again = small.post_messages(feed, *numbered(1, first=9), idempotency_key=key)
    assert again.headers["RestMS-Full"] == "1"
    assert small.ids(pipe) == ["9"]


@pytest.mark.parametrize(
    "change",
    [
        lambda sent: {**sent, "address": "other"},
        lambda sent: {**sent, "message_id": "2"},
        lambda sent: {**sent, "content": [text("other")]},
        lambda sent: {**sent, "header": [{"name": "a", "value": "b"}]},
        lambda sent: {**sent, "priority": "1"},
        lambda sent: {**sent, "delay": "1"},
    ],
    ids=["address", "message_id", "content", "header", "priority", "delay"],
)
def test_key_of_another_request_is_422(
    broker: Client, feed: str, pipe: str, change: Callable[[Element], Element]
) -> None:
    """Section 8: the same key with another request is 422, and nothing is routed."""
    key, sent = unique("key"), message(ADDRESS, text("news"), message_id="1")
    broker.post_messages(feed, sent, idempotency_key=key)
    other = restms(message=[change(sent)])
    refused = expect(broker.post(feed, other, idempotency_key=key), 422)
    assert refused.headers["RestMS-Error"] == "key_reused"
    broker.post_messages(feed, sent, idempotency_key=key)
    assert len(broker.messages(pipe)) == 1


def test_key_is_known_for_one_feed(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: a key that was used on one feed is new to another."""
    other, key = broker.create_feed(), unique("key")
    broker.join(pipe, other, ADDRESS)
    for to in (feed, other, feed, other):
        broker.post_messages(to, message(ADDRESS), idempotency_key=key)
    assert len(broker.messages(pipe)) == 2


def stage(
    broker: Client, feed: str, key: str, body: bytes = b"PNG", type: str = "image/png"
) -> httpx.Response:
    """Post a content under a key."""
    headers = {"content-type": type, "idempotency-key": key, "accept": ""}
    return broker.request("POST", feed, body=body, headers=headers)


def test_repeated_content_is_staged_once(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: a repeat stages nothing: it is answered with the same `Location`."""
    key = unique("key")
    first, again = (expect(stage(broker, feed, key), 201).headers["Location"] for _ in range(2))
    assert path_of(first) == path_of(again)
    other = expect(stage(broker, feed, unique("key")), 201).headers["Location"]
    assert path_of(other) != path_of(first)
    broker.publish(feed, message(ADDRESS, staged(again)))
    (received,) = broker.receive_all(pipe)
    assert data_of(received["content"][0]) == b"PNG"


@pytest.mark.parametrize("change", [{"body": b"GIF"}, {"type": "image/gif"}], ids=["body", "type"])
def test_key_of_another_content_is_422(broker: Client, feed: str, change: dict[str, str]) -> None:
    """Section 8: the same key with other bytes, or of another type, is 422."""
    key = unique("key")
    content = expect(stage(broker, feed, key), 201).headers["Location"]
    refused = expect(stage(broker, feed, key, **change), 422)
    assert refused.headers["RestMS-Error"] == "key_reused"
    got = broker.get(content)
    assert (got.content, got.headers["Content-Type"]) == (b"PNG", "image/png")


@pytest.mark.parametrize("first", ["content", "message"])
def test_key_of_a_content_is_not_that_of_a_message(
    broker: Client, feed: str, pipe: str, first: str
) -> None:
    """Section 8: messages under the key of a content, or the other way round, are 422."""
    key, document = unique("key"), restms(message=[message(ADDRESS)])
    if first == "content":
        expect(stage(broker, feed, key), 201)
        expect(broker.post(feed, document, idempotency_key=key), 422)
    else:
        expect(broker.post(feed, document, idempotency_key=key), 200)
        expect(stage(broker, feed, key), 422)
    assert len(broker.messages(pipe)) == (1 if first == "message" else 0)


def test_key_of_a_refused_request_is_new(small: Client) -> None:
    """Section 8: refused requests are not remembered: sent again, they are routed."""
    feed, key = small.create_feed(type="rotator"), unique("key")
    small.post_messages(feed, *numbered(PER_FEED))
    document = restms(message=[message(message_id="refused")])
    expect(small.post(feed, document, idempotency_key=key), 503)
    pipe = small.create_joined(feed)
    for _ in range(PER_FEED):
        small.consume(pipe)
    for _ in range(2):
        expect(small.post(feed, document, idempotency_key=key), 200)
    assert small.ids(pipe) == ["refused"]


def test_key_has_255_characters_at_most(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: a longer Idempotency-Key is 400, and nothing is routed."""
    document = restms(message=[message(ADDRESS)])
    expect(broker.post(feed, document, idempotency_key="k" * 256), 400)
    assert broker.messages(pipe) == []
    expect(broker.post(feed, document, idempotency_key="k" * 255), 200)
    assert len(broker.messages(pipe)) == 1


# Dead letters: the feed that gets them


def test_feed_shows_its_public_dead_letter_feed(speaker: Client, feed: str) -> None:
    """Section 8: a feed's dead_letter, given when it is made, is shown as an absolute URI."""
    shown = speaker.read(speaker.create_feed(unique("feed"), "rotator", dead_letter=path_of(feed)))
    assert path_of(shown["dead_letter"]) == path_of(feed)
    assert urlsplit(shown["dead_letter"]).netloc


def test_public_feed_does_not_show_its_private_dead_letter_feed(
    speaker: Client, letters: str
) -> None:
    """Section 8: a private feed's URI is a capability, and nobody learns it from a public feed."""
    new = {"name": unique("feed"), "type": "rotator", "dead_letter": letters}
    created = expect(speaker.post(DOMAIN, restms(feed=[new])), 201)
    feed, secret = created.headers["Location"], name_of(letters).encode()
    changed = expect(speaker.put(feed, restms(feed=[{"dead_letter": letters}])), 200, 204)
    again = expect(speaker.post(DOMAIN, restms(feed=[new])), 200)
    for answer in (created, changed, again, speaker.get(feed), speaker.get(DOMAIN)):
        assert secret not in expect(answer, 200, 201).content
    # It is there all the same.
    speaker.post_messages(feed, message(message_id="1"))
    expect(speaker.delete(feed), 200)
    reader = speaker.create_joined(letters, type="ondemand")
    received = speaker.receive(speaker.asynclet(reader))
    assert received["message_id"] == "1"


def test_dead_letter_feed_must_exist(speaker: Client, feed: str) -> None:
    """Section 8: a dead_letter that is not there is 404, and nothing is made or changed."""
    nowhere = f"/restms/feed/{unique('nowhere')}"
    name = unique("feed")
    expect(speaker.post(DOMAIN, restms(feed=[{"name": name, "dead_letter": nowhere}])), 404)
    expect(speaker.get(f"/restms/feed/{name}"), 404)
    expect(speaker.put(feed, restms(feed=[{"title": "New", "dead_letter": nowhere}])), 404)
    assert "title" not in speaker.read(feed)


def test_feed_cannot_be_its_own_dead_letter_feed(broker: Client, feed: str) -> None:
    """Section 8: a feed that is to be its own dead-letter feed is 400."""
    expect(broker.put(feed, restms(feed=[{"dead_letter": feed}])), 400)
    assert "dead_letter" not in broker.read(feed)


def test_dead_letter_that_is_no_feed_is_400(broker: Client, feed: str, pipe: str) -> None:
    """Section 8: dead_letter is the URI of a feed."""
    expect(broker.put(feed, restms(feed=[{"dead_letter": pipe}])), 400)
    expect(broker.post(DOMAIN, restms(feed=[{"dead_letter": pipe}])), 400)
    assert "dead_letter" not in broker.read(feed)


def test_dead_letter_feed_is_in_the_same_domain(
    broker: Client, feed: str, second_domain: str
) -> None:
    """Section 8: a dead_letter in another domain is refused."""
    other = f"/restms/feed/{second_domain}/default"
    expect(broker.get(other), 200)
    expect(broker.put(feed, restms(feed=[{"dead_letter": other}])), 403)
    expect(broker.post(DOMAIN, restms(feed=[{"dead_letter": other}])), 403)
    assert "dead_letter" not in broker.read(feed)


def test_dead_letter_can_be_changed_and_taken_away(speaker: Client, feed: str) -> None:
    """Section 8: dead_letter can be changed by PUT; an empty value takes it away."""
    letters = [speaker.create_feed(unique("letters"), "rotator") for _ in range(2)]
    for wanted in (*letters, ""):
        expect(speaker.put(feed, restms(feed=[{"dead_letter": wanted}])), 200, 204)
        assert path_of(speaker.read(feed).get("dead_letter", "")) == path_of(wanted)
    expect(speaker.put(feed, restms(feed=[{"dead_letter": letters[0]}])), 200, 204)
    expect(speaker.put(feed, restms(feed=[{"title": "New"}])), 200, 204)
    assert path_of(speaker.read(feed)["dead_letter"]) == path_of(letters[0])


def test_letters_go_where_the_feed_says_now(broker: Client) -> None:
    """Section 8: what dies goes to the dead-letter feed of that time, or nowhere."""
    first, second = (broker.create_feed(type="rotator") for _ in range(2))
    feed = feed_with(first, broker, "rotator")
    broker.post_messages(feed, message(message_id="1"))
    expect(broker.put(feed, restms(feed=[{"dead_letter": second}])), 200, 204)
    expect(broker.delete(feed), 200)
    readers = [broker.create_joined(each) for each in (first, second)]
    assert [broker.ids(reader) for reader in readers] == [[], ["1"]]
    feed = feed_with(first, broker, "rotator")
    broker.post_messages(feed, message(message_id="2"))
    expect(broker.put(feed, restms(feed=[{"dead_letter": ""}])), 200, 204)
    expect(broker.delete(feed), 200)
    assert [broker.ids(reader) for reader in readers] == [[], ["1"]]


# Dead letters: reasons


def test_message_that_expires_in_a_pipe_is_a_dead_letter(broker: Client) -> None:
    """Section 8: what expires in a pipe goes to the dead-letter feed, with the reason `expired`."""
    readers = {}
    for type_ in TYPES:
        letters = broker.create_feed(type="rotator")
        feed = feed_with(letters, broker, type_)
        broker.create_joined(feed, ADDRESS)
        readers[feed] = broker.create_joined(letters)
        broker.post_messages(feed, message(ADDRESS, text("late"), message_id="1", expiration="1"))
    for feed, reader in readers.items():
        received = broker.consume(reader)
        assert (received["address"], received["message_id"]) == (ADDRESS, "1")
        assert data_of(received["content"][0]) == b"late"
        headers = headers_of(received)
        assert (headers["x-death-reason"], headers["x-death-feed"]) == ("expired", name_of(feed))


def test_message_that_expires_in_a_queue_is_a_dead_letter(broker: Client, letters: str) -> None:
    """Section 8: what expires in a feed's queue is a dead letter, too, without anybody's doing."""
    feed = feed_with(letters, broker, "rotator")
    broker.post_messages(feed, *numbered(2, expiration="1"))
    reader = broker.create_joined(letters)
    for n in "12":
        received = broker.consume(reader)
        assert (received["message_id"], headers_of(received)["x-death-reason"]) == (n, "expired")


def test_message_that_expires_in_many_pipes_is_one_dead_letter(broker: Client) -> None:
    """Section 8: a message that expires is one dead letter, however many pipes held it."""
    letters = broker.create_feed(type="fanout")
    feed = feed_with(letters, broker, "fanout")
    pipes = [broker.create_joined(feed) for _ in range(3)]
    reader = broker.create_joined(letters)
    for n in (1, 2):
        broker.post_messages(feed, *numbered(1, first=n, expiration="1"))
        until(lambda n=n: len(broker.messages(reader)) >= n)
    assert broker.ids(reader) == ["1", "2"]
    assert [broker.messages(pipe) for pipe in pipes] == [[], [], []]


def test_message_that_was_acknowledged_is_no_dead_letter(broker: Client, letters: str) -> None:
    """Section 8: only what nobody got is a dead letter: not what was deleted in time."""
    feed = feed_with(letters, broker)
    pipe, reader = broker.create_joined(feed, ADDRESS), broker.create_joined(letters)
    broker.publish(feed, message(ADDRESS, message_id="read", expiration="1500"))
    broker.consume(pipe)
    broker.publish(feed, message(ADDRESS, message_id="unread", expiration="1600"))
    until(lambda: broker.messages(reader) != [])
    assert broker.ids(reader) == ["unread"]


def test_message_that_nobody_wants_is_no_dead_letter(broker: Client, letters: str) -> None:
    """Section 8: a message that no join wants does not die: it was never held."""
    feed = feed_with(letters, broker)
    reader = broker.create_joined(letters)
    assert broker.publish(feed, message("nobody", expiration="1")) == [0]
    broker.delete(feed)
    broker.post_messages(letters, message(message_id="first"))
    assert broker.ids(reader) == ["first"]


def test_dead_letter_does_not_expire_again(broker: Client, letters: str) -> None:
    """Section 8: a dead letter can be read whenever somebody comes, in a pipe or a queue."""
    feed = feed_with(letters, broker)
    pipe = broker.create_joined(feed, ADDRESS)
    broker.publish(feed, message(ADDRESS, message_id="1", expiration="1"))
    until(lambda: broker.messages(pipe) == [])
    reader = broker.create_joined(letters)
    until(lambda: broker.ids(reader) == ["1"])
    broker.publish(feed, message(ADDRESS, message_id="2", expiration="1"))
    until(lambda: broker.ids(reader) == ["1", "2"])
    assert [got["message_id"] for got in broker.receive_all(reader)] == ["1", "2"]


@pytest.mark.parametrize("type_", TYPES[:-2], ids=lambda type_: type_ or "default")
def test_message_that_pipes_were_too_full_for_is_a_dead_letter(small: Client, type_: str) -> None:
    """Section 8: `overflow` tells by x-death-count how many pipes were full; there is no 503."""
    letters = small.create_feed(type="rotator")
    feed = feed_with(letters, small, type_)
    for _ in range(2):
        small.create_joined(feed, ADDRESS)
    small.post_messages(feed, *[message(ADDRESS)] * PER_PIPE)
    reader = small.create_joined(letters)
    assert small.messages(reader) == []
    answer = small.post_messages(feed, message(ADDRESS, text("news"), message_id="1"))
    assert answer.headers["RestMS-Full"] == "2"
    received = small.consume(reader)
    assert (received["address"], received["message_id"]) == (ADDRESS, "1")
    assert data_of(received["content"][0]) == b"news"
    assert headers_of(received) == {
        "x-death-reason": "overflow",
        "x-death-feed": name_of(feed),
        "x-death-count": "2",
    }


def test_message_that_some_pipes_were_too_full_for_is_a_dead_letter_too(small: Client) -> None:
    """Section 8: a message is a dead letter for the pipes that were full, where others took it."""
    letters = small.create_feed(type="rotator")
    feed = feed_with(letters, small)
    small.create_joined(feed, ADDRESS)
    small.post_messages(feed, *[message(ADDRESS)] * PER_PIPE)
    pipe, reader = small.create_joined(feed, ADDRESS), small.create_joined(letters)
    answer = small.post_messages(feed, message(ADDRESS, message_id="1"))
    assert small.document(answer) == {"message": [{"count": "1", "full": "1"}]}
    assert small.ids(pipe) == small.ids(reader) == ["1"]
    assert headers_of(small.receive_all(reader)[0])["x-death-count"] == "1"


def test_message_that_the_queue_is_too_full_for_is_a_dead_letter(small: Client) -> None:
    """Section 8: `overflow` is also what a full queue has no place for; there is no 503."""
    letters = small.create_feed(type="rotator")
    feed = feed_with(letters, small, "rotator")
    small.post_messages(feed, *numbered(PER_FEED + 2))
    small.post_messages(feed, *numbered(1, first=PER_FEED + 3))
    reader, worker = small.create_joined(letters), small.create_joined(feed)
    died = [small.consume(reader) for _ in range(3)]
    assert [int(got["message_id"]) for got in died] == [PER_FEED + n for n in (1, 2, 3)]
    for received in died:
        headers = headers_of(received)
        assert (headers["x-death-reason"], headers["x-death-feed"]) == ("overflow", name_of(feed))
    assert [small.consume(worker)["message_id"] for _ in range(PER_FEED)] == [
        str(n) for n in range(1, PER_FEED + 1)
    ]


def bring_back(broker: Client, feed: str) -> Element:
    """Take a message from a feed and delete the pipe that holds it; return the message."""
    pipe = broker.create_joined(feed, type="ondemand")
    received = broker.receive(broker.asynclet(pipe))
    expect(broker.delete(pipe), 200)
    return received


def test_message_that_came_back_too_often_is_a_dead_letter(broker: Client, letters: str) -> None:
    """Section 8: what came back more than 5 times is a dead letter: `redelivered`."""
    feed = feed_with(letters, broker, "rotator")
    reader = broker.create_joined(letters)
    broker.post_messages(feed, message("work", text("poison"), message_id="1"))
    for before in range(REDELIVERIES + 1):
        assert broker.messages(reader) == []
        assert bring_back(broker, feed).get("redelivered") == ("1" if before else None)
    (received,) = broker.receive_all(reader)
    assert (received["address"], received["message_id"]) == ("work", "1")
    assert data_of(received["content"][0]) == b"poison"
    headers = headers_of(received)
    assert (headers["x-death-reason"], headers["x-death-feed"]) == ("redelivered", name_of(feed))
    worker = broker.create_joined(feed, type="ondemand")
    expect(broker.get(broker.asynclet(worker), prefer="wait=0"), 204)


def test_without_a_dead_letter_feed_a_message_goes_on_coming_back(broker: Client) -> None:
    """Section 8: without a dead-letter feed a message comes back however often."""
    feed = broker.create_feed(type="rotator")
    broker.post_messages(feed, message(message_id="1"))
    for _ in range(REDELIVERIES + 3):
        assert bring_back(broker, feed)["message_id"] == "1"


@pytest.mark.parametrize("type_", ["rotator", "service"])
def test_message_in_a_feed_that_is_deleted_is_a_dead_letter(
    speaker: Client, letters: str, type_: str
) -> None:
    """Section 8: what a deleted feed had queued are dead letters, in order: `deleted`."""
    feed = feed_with(letters, speaker, type_)
    first = message("work", text("a job"), message_id="1", header=[("kind", "job")])
    speaker.post_messages(feed, first, *numbered(2, first=2))
    expect(speaker.delete(feed), 200)
    reader = speaker.create_joined(letters, type="ondemand")
    received = speaker.consume(reader)
    assert (received["address"], received["message_id"]) == ("work", "1")
    assert data_of(received["content"][0]) == b"a job"
    headers = headers_of(received)
    assert headers.pop("x-death-count").isdigit()
    assert headers == {
        "kind": "job",
        "x-death-reason": "deleted",
        "x-death-feed": name_of(feed),
    }
    assert [speaker.consume(reader)["message_id"] for _ in range(2)] == ["2", "3"]


@pytest.mark.parametrize("what", ["join", "pipe"])
def test_message_in_a_service_that_ends_is_a_dead_letter(
    broker: Client, letters: str, what: str
) -> None:
    """Section 8: so are those that a service still had when its last join went."""
    feed = feed_with(letters, broker, "service")
    pipe = broker.create_pipe(type="ondemand")
    join = broker.join(pipe, feed)
    broker.post_messages(feed, *numbered(2))
    expect(broker.delete({"join": join, "pipe": pipe}[what]), 200)
    expect(broker.get(feed), 404)
    reader = broker.create_joined(letters)
    assert broker.ids(reader) == ["1", "2"]
    for received in broker.receive_all(reader):
        headers = headers_of(received)
        assert (headers["x-death-reason"], headers["x-death-feed"]) == ("deleted", name_of(feed))


def test_what_the_last_pipe_of_a_service_held_is_a_dead_letter(
    broker: Client, letters: str
) -> None:
    """Section 8: what comes back to a service that ends with that very pipe dies with it."""
    feed = feed_with(letters, broker, "service")
    pipe = broker.create_joined(feed)
    broker.post_messages(feed, *numbered(3))
    broker.consume(pipe)
    expect(broker.delete(pipe), 200)
    reader = broker.create_joined(letters)
    assert broker.ids(reader) == ["2", "3"]
    reasons = [headers_of(got)["x-death-reason"] for got in broker.receive_all(reader)]
    assert reasons == ["deleted", "deleted"]


# Dead letters: what they are


def test_dead_letter_does_not_name_a_private_feed(broker: Client, letters: str) -> None:
    """Section 8: x-death-feed is the name of a public feed; a private one's is not given away."""
    feed = broker.create_feed(type="rotator", dead_letter=letters)
    broker.post_messages(feed, message(message_id="1"))
    expect(broker.delete(feed), 200)
    reader = broker.create_joined(letters)
    (uri,) = broker.messages(reader)
    headers = headers_of(broker.receive(uri))
    assert headers["x-death-reason"] == "deleted"
    assert "x-death-feed" not in headers
    assert name_of(feed).encode() not in broker.get(uri).content


def test_dead_letter_keeps_contents_of_any_size(broker: Client, letters: str) -> None:
    """Section 8: a dead letter is the whole message, with contents that were staged."""
    feed, data = feed_with(letters, broker, "rotator"), b"x" * 200_000
    content = staged(broker.stage(feed, data, "image/png"))
    broker.post_messages(feed, message(ADDRESS, content, expiration="1"))
    reader = broker.create_joined(letters)
    (content,) = broker.receive(broker.listed(reader)[0]["href"])["content"]
    got = expect(broker.get(content["href"]), 200)
    assert (got.content, got.headers["Content-Type"]) == (data, "image/png")


@every_type
def test_dead_letter_feed_may_have_any_type(broker: Client, type_: str) -> None:
    """Section 8: a dead letter is routed as other messages are: by its address, which it kept."""
    letters = broker.create_feed(type=type_)
    feed = feed_with(letters, broker, "rotator")
    reader = broker.create_joined(letters, ADDRESS)
    broker.post_messages(feed, message(ADDRESS, message_id="1"))
    expect(broker.delete(feed), 200)
    assert broker.ids(reader) == ["1"]


@pytest.mark.parametrize("header", ["kind", "x-death-reason", "x-death-feed", "x-death-count"])
def test_dead_letters_are_routed_by_their_headers(small: Client, header: str) -> None:
    """Section 8: a headers feed tells dead letters apart by the headers that they have got."""
    letters = small.create_feed(type="headers")
    feed = feed_with(letters, small, "rotator")
    values = {
        "kind": "job",
        "x-death-reason": "overflow",
        "x-death-feed": name_of(feed),
        "x-death-count": "1",
    }
    wanted = [{"name": header, "value": values[header]}]
    reader = small.create_joined(letters, header=wanted)
    other = small.create_joined(letters, header=[{"name": header, "value": "other"}])
    small.post_messages(feed, *numbered(PER_FEED + 1, header=[("kind", "job")]))
    assert (small.ids(reader), small.ids(other)) == ([str(PER_FEED + 1)], [])


def test_dead_letter_may_die_again(broker: Client, letters: str) -> None:
    """Section 8: a dead letter tells of its last death only."""
    middle = feed_with(letters, broker, "rotator")
    feed = feed_with(middle, broker, "rotator")
    broker.post_messages(feed, message(message_id="1"))
    for dying in (feed, middle):
        expect(broker.delete(dying), 200)
    (received,) = broker.receive_all(broker.create_joined(letters))
    headers = headers_of(received)
    assert (headers["x-death-reason"], headers["x-death-feed"]) == ("deleted", name_of(middle))
