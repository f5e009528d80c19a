"""Section 6: 3/Defaults: the feed and pipe types that are the empty string."""

from urllib.parse import urlsplit

import pytest

from tests.conformance.client import DEFAULT_FEED, DOMAIN, Client, expect, unique
from tests.conformance.conftest import ADDRESS, PER_PIPE
from tests.conformance.documents import data_of, message, restms, text


@pytest.fixture
def full_pipe(small: Client) -> tuple[str, str]:
    """A feed, and a pipe on it that holds all the messages it may."""
    feed, pipe = small.create_feed(unique("feed")), small.create_pipe()
    small.join(pipe, feed, ADDRESS)
    small.publish(feed, *[message(ADDRESS) for _ in range(PER_PIPE)])
    return feed, pipe


# The default feed


def test_default_feed_routes_where_addresses_are_equal(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 6: a default feed routes each message to every join of the same address."""
    same, other = broker.create_pipe(), broker.create_pipe()
    broker.join(same, feed, ADDRESS)
    broker.join(other, feed, ADDRESS + ".other")
    assert broker.publish(feed, message(ADDRESS, text("news"))) == [2]
    for taker in (pipe, same):
        (received,) = broker.receive_all(taker)
        assert data_of(received["content"][0]) == b"news"
    assert broker.messages(other) == []


@pytest.mark.parametrize("address", ["SPORTS.FOOTBALL", "sports", "sports.*", "#", "", " "])
def test_default_feed_knows_no_patterns(broker: Client, feed: str, pipe: str, address: str) -> None:
    """Section 6: addresses match when they are equal, character by character."""
    broker.join(pipe, feed, address)
    assert broker.publish(feed, message("sports.tennis")) == [0]
    assert broker.publish(feed, message(address)) == [1]


def test_private_feed_routes_as_well(broker: Client) -> None:
    """Section 6: a private feed of the default type routes as a public one does."""
    feed, pipe = broker.create_feed(), broker.create_pipe()
    broker.join(pipe, feed, ADDRESS)
    assert broker.publish(feed, message(ADDRESS)) == [1]
    assert len(broker.messages(pipe)) == 1


def test_default_feed_does_not_queue(broker: Client, feed: str) -> None:
    """Section 6: a default feed does not queue: who joins later gets nothing of what was before."""
    assert broker.publish(feed, message(ADDRESS)) == [0]
    pipe = broker.create_pipe()
    broker.join(pipe, feed, ADDRESS)
    assert broker.messages(pipe) == []


def test_feeds_do_not_share_their_joins(broker: Client, pipe: str) -> None:
    """Section 6: a join is a join to one feed."""
    assert broker.publish(broker.create_feed(unique("other")), message(ADDRESS)) == [0]
    assert broker.messages(pipe) == []


def test_publishing_answers_with_the_number_of_joins(speaker: Client, feed: str, pipe: str) -> None:
    """Section 6: the answer has a `message` for each one posted, with the sole property `count`."""
    speaker.join(speaker.create_pipe(), feed, ADDRESS)
    posted = [message(ADDRESS), message("nobody"), message(ADDRESS)]
    answer = expect(speaker.post(feed, restms(message=posted)), 200)
    assert speaker.document(answer) == {"message": [{"count": "2"}, {"count": "0"}, {"count": "2"}]}


@pytest.mark.ours
def test_publishing_leaves_the_document_out_where_preferred(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 6: `Prefer: return=minimal` leaves the document out of the answer."""
    document = restms(message=[message(ADDRESS)])
    answer = expect(broker.post(feed, document, prefer="return=minimal"), 200, 204)
    assert answer.content == b""
    assert answer.headers["Preference-Applied"] == "return=minimal"
    assert len(broker.messages(pipe)) == 1


# The default pipe


def test_default_pipe_holds_messages_until_they_are_deleted(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 6: a default pipe holds its messages until they are deleted, read or not."""
    broker.publish(feed, message(ADDRESS, message_id="1"))
    broker.receive_all(pipe)
    broker.publish(feed, message(ADDRESS, message_id="2"))
    assert [received["message_id"] for received in broker.receive_all(pipe)] == ["1", "2"]
    broker.acknowledge(broker.messages(pipe)[-1])
    assert broker.messages(pipe) == []


def test_pipe_is_joined_to_default_at_its_own_name(broker: Client) -> None:
    """Section 6: a default pipe is joined to the feed `default` at its own name from the start."""
    response = expect(broker.post(DOMAIN, restms(pipe=[{}])), 201)
    (created,) = broker.document(response)["pipe"]
    pipe = broker.read(response.headers["Location"])
    for described in (created, pipe):
        (join,) = described["join"]
        assert join["address"] == pipe["name"]
        assert urlsplit(join["feed"]).path == DEFAULT_FEED
    assert broker.read(pipe["join"][0]["href"])["address"] == pipe["name"]


def test_message_posted_to_default_reaches_the_pipe_of_that_name(broker: Client) -> None:
    """Section 6: posting to `default` with a pipe's name as address always reaches that pipe."""
    pipe, other = broker.create_pipe(), broker.create_pipe()
    assert broker.publish(DEFAULT_FEED, message(broker.read(pipe)["name"], text("hello"))) == [1]
    (received,) = broker.receive_all(pipe)
    assert data_of(received["content"][0]) == b"hello"
    assert broker.messages(other) == []


def test_join_to_default_cannot_be_deleted(broker: Client) -> None:
    """Section 6: deleting a pipe's join to the feed `default` is 403, and the join stays."""
    pipe = broker.create_pipe()
    (join,) = broker.read(pipe)["join"]
    expect(broker.delete(join["href"]), 403)
    assert broker.publish(DEFAULT_FEED, message(join["address"])) == [1]


@pytest.mark.parametrize("address", ["own name", "anything"])
def test_another_join_to_default_is_403(broker: Client, address: str) -> None:
    """Section 6: making another join on the feed `default` is 403."""
    pipe = broker.create_pipe()
    where = broker.read(pipe)["name"] if address == "own name" else unique(address)
    expect(broker.post(pipe, restms(join=[{"feed": DEFAULT_FEED, "address": where}])), 403)
    assert len(broker.read(pipe)["join"]) == 1


@pytest.mark.ours
def test_fifo_is_another_word_for_the_default_pipe(broker: Client) -> None:
    """Section 6: `fifo`, the reference client's word, is the default pipe type."""
    pipe = broker.create_pipe(type="fifo")
    described = broker.read(pipe)
    assert described.get("type", "") == ""
    assert broker.publish(DEFAULT_FEED, message(described["name"])) == [1]


# Full pipes


@pytest.mark.ours
def test_message_that_every_pipe_is_too_full_for_is_503(
    small: Client, full_pipe: tuple[str, str]
) -> None:
    """Section 6: when all pipes that want a message are full: 503, and nothing is routed."""
    feed, pipe = full_pipe
    other = small.create_pipe()
    small.join(other, feed, "other")
    refused = expect(small.post(feed, restms(message=[message("other"), message(ADDRESS)])), 503)
    assert int(refused.headers["Retry-After"]) >= 0
    assert small.messages(other) == []
    small.acknowledge(small.messages(pipe)[0])
    assert small.publish(feed, message("other"), message(ADDRESS)) == [1, 1]


@pytest.mark.ours
@pytest.mark.parametrize("prefer", ["", "return=minimal"], ids=["document", "minimal"])
def test_pipes_that_were_too_full_are_told_of(
    small: Client, full_pipe: tuple[str, str], prefer: str
) -> None:
    """Section 6: when some pipes were full, `full` tells how many, and so does `RestMS-Full`."""
    feed, _ = full_pipe
    other = small.create_pipe()
    small.join(other, feed, ADDRESS)
    posted = restms(message=[message(ADDRESS), message("nobody")])
    answer = expect(small.post(feed, posted, prefer=prefer), 200, 204)
    assert answer.headers["RestMS-Full"] == "1"
    if not prefer:
        taken, unwanted = small.document(answer)["message"]
        assert (taken["count"], taken["full"]) == ("1", "1")
        assert unwanted == {"count": "0"}
    assert len(small.messages(other)) == 1
