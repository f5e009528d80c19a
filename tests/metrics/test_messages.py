"""What becomes of messages is counted once, by whichever node, and the sum over nodes is right."""

from tests.conformance.client import Client, unique
from tests.conformance.documents import message, numbered
from tests.conformance.streaming import SSE, Stream
from tests.conformance.websocket import JSON, WebSocket
from tests.metrics.conftest import MOST
from tests.metrics.scrapes import grows, scrape
from tests.waiting import wait_until

KINDS = (
    *("received", "routed", "unroutable", "delivered", "acknowledged"),
    *("redelivered", "expired", "dead_lettered", "lost"),
)


def counter(kind: str) -> str:
    return f"restms_messages_{kind}_total"


def test_all_are_there_from_the_start(urls: list[str]) -> None:
    for url in urls:
        told = scrape(url)
        assert all(told.samples(counter(kind), domain="default") for kind in KINDS)


def test_a_message_is_received_once_and_routed_to_each_pipe(
    client: Client, urls: list[str]
) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    for _ in range(3):
        client.create_joined(feed)
    with grows(urls, counter("received"), 2), grows(urls, counter("routed"), 6):
        client.post_messages(feed, *numbered(2))


def test_a_message_that_no_join_wants_is_unroutable(client: Client, urls: list[str]) -> None:
    feed = client.create_feed(unique("news"), "direct")
    client.create_joined(feed, "oslo")
    with grows(urls, counter("received"), 3), grows(urls, counter("unroutable"), 2):
        client.post_messages(feed, message("oslo"), message("rome"), message("bonn"))


def test_a_message_is_delivered_each_time_it_is_read(client: Client, urls: list[str]) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    pipe = client.create_joined(feed)
    client.post_messages(feed, *numbered(3))
    first = client.messages(pipe)[0]
    with grows(urls, counter("delivered"), 2 + 3 + 3 + 3):
        client.receive(first)
        client.receive(first)
        client.head(first)  # has none of it
        client.get(f"{pipe}?messages=10")
        with Stream(client, pipe, SSE) as stream:
            stream.take(3)
        with WebSocket(client, pipe, JSON) as socket:
            socket.ids(3)


def test_deleting_a_message_acknowledges_it_and_all_older_ones(
    client: Client, urls: list[str]
) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    pipe = client.create_joined(feed)
    client.post_messages(feed, *numbered(5))
    third = client.messages(pipe)[2]
    with grows(urls, counter("acknowledged"), 4):
        client.delete(third)
        client.delete(third)
        with WebSocket(client, pipe, JSON) as socket:
            socket.acknowledge(socket.message()["href"])
            wait_until(lambda: len(client.messages(pipe)) == 1)


def test_what_a_deleted_pipe_held_is_redelivered(client: Client, urls: list[str]) -> None:
    feed = client.create_feed(unique("work"), "rotator")
    pipe = client.create_joined(feed)
    client.post_messages(feed, *numbered(3))
    with grows(urls, counter("redelivered"), 3):
        client.delete(pipe)


def test_an_expired_message_is_a_dead_letter_where_its_feed_has_a_place_for_them(
    client: Client, urls: list[str]
) -> None:
    letters = client.create_feed(unique("letters"), "rotator")
    feed = client.create_feed(unique("news"), "fanout", dead_letter=letters)
    client.create_joined(feed)
    with grows(urls, counter("expired"), 2), grows(urls, counter("dead_lettered"), 2):
        client.post_messages(feed, message(expiration="1"), message(expiration="1"))


def test_a_dead_letter_that_finds_no_room_is_lost(client: Client, urls: list[str]) -> None:
    letters = client.create_feed(unique("letters"), "fanout")
    feed = client.create_feed(unique("news"), "fanout", dead_letter=letters)
    for full in (letters, feed):
        client.create_joined(full)
        client.post_messages(full, *numbered(MOST))
    with grows(urls, counter("lost"), 1):
        client.post_messages(feed, message())


def test_a_delayed_message_is_routed_at_its_time_and_its_lateness_told(
    client: Client, urls: list[str]
) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    client.create_joined(feed)
    client.create_joined(feed)
    lateness = "restms_delayed_lateness_seconds"
    with (
        grows(urls, counter("received"), 3),
        grows(urls, counter("routed"), 6),
        grows(urls, counter("unroutable"), 0),
        grows(urls, f"{lateness}_count", 3),
    ):
        client.post_messages(feed, *[message(delay="50")] * 3)
    for url in urls:  # well below a second: they are fired when they are due
        told = scrape(url)
        count = told.value(f"{lateness}_count")
        assert told.value(f"{lateness}_bucket", le="1.0") == count
        assert 0 <= told.value(f"{lateness}_sum") <= count
