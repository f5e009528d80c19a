"""Section 5: receiving: the pipe's list, the asynclet, the acknowledgement."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from tests.conformance.client import Client, expect, unique
from tests.conformance.conftest import ADDRESS, LISTED, WAIT_SECONDS
from tests.conformance.documents import JSON, binary, data_of, message, staged, text

LARGE = b"x" * 200_000


def beyond(uri: str) -> str:
    """Return the URI of the message after this one; how it is made is known of our server only."""
    return re.sub(r"\d+$", lambda number: str(int(number[0]) + 1), uri)


# The list


def test_new_pipe_lists_one_asynclet(broker: Client) -> None:
    """Section 5: a pipe lists its messages and, last, one asynclet: a new one lists that alone."""
    (only,) = broker.listed(broker.create_pipe())
    assert only["async"] == "1"


def test_pipe_lists_messages_then_one_asynclet(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: a pipe lists the messages that it holds and, last, one asynclet."""
    broker.publish(feed, *[message(ADDRESS, message_id=str(n)) for n in range(3)])
    listed = broker.listed(pipe)
    assert [entry.get("message_id") for entry in listed] == ["0", "1", "2", None]
    assert [entry.get("async") for entry in listed] == [None, None, None, "1"]
    assert len({entry["href"] for entry in listed}) == 4


def test_list_that_is_cut_short_has_no_asynclet(small: Client) -> None:
    """Section 5: a pipe lists a configured number at most; cut short, it has no asynclet."""
    pipe = small.create_pipe()
    feed = small.create_feed(unique("feed"))
    small.join(pipe, feed, ADDRESS)
    small.publish(feed, *[message(ADDRESS, message_id=str(n)) for n in range(LISTED + 1)])
    listed = small.listed(pipe)
    assert [entry.get("message_id") for entry in listed] == [str(n) for n in range(LISTED)]
    small.acknowledge(listed[-1]["href"])
    rest = small.listed(pipe)
    assert [entry.get("message_id") for entry in rest] == [str(LISTED), None]
    assert rest[-1]["async"] == "1"


# The asynclet


def test_asynclet_waits_for_its_message(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: GET on the asynclet waits, and is answered as soon as the message arrives."""
    later = broker.get_later(broker.asynclet(pipe))
    assert later.waits()
    broker.publish(feed, message(ADDRESS, text("news")))
    answer = expect(later.answer(), 200)
    (received,) = broker.document(answer)["message"]
    assert data_of(received["content"][0]) == b"news"


@pytest.mark.parametrize("publisher", [0, 1])
def test_what_one_node_promised_another_completes(
    broker: Client, feed: str, pipe: str, publisher: int
) -> None:
    """Section 5: the list, the wait and the message may each be another node's."""
    asynclet = broker.on(1 - publisher).asynclet(pipe)
    later = broker.on(publisher).get_later(asynclet)
    assert later.waits()
    broker.on(1 - publisher).publish(feed, message(ADDRESS, message_id="the-one"))
    (received,) = broker.document(expect(later.answer(), 200))["message"]
    assert received["message_id"] == "the-one"


def test_asynclet_becomes_the_message(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: once its message is there, the asynclet's URI is the message's, listed as such."""
    asynclet = broker.asynclet(pipe)
    broker.publish(feed, message(ADDRESS, message_id="m-1"))
    assert [urlsplit(uri).path for uri in broker.messages(pipe)] == [urlsplit(asynclet).path]
    assert broker.receive(asynclet)["message_id"] == "m-1"
    assert urlsplit(broker.asynclet(pipe)).path != urlsplit(asynclet).path


def test_asynclet_is_the_next_message_not_any_later_one(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 5: an asynclet stands for the first message to come, also where several come."""
    asynclet = broker.asynclet(pipe)
    broker.publish(feed, *[message(ADDRESS, message_id=str(n)) for n in range(3)])
    assert broker.receive(asynclet)["message_id"] == "0"


def test_all_who_wait_for_a_message_get_it(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: several reads of one asynclet, on all nodes, are all answered."""
    asynclet = broker.asynclet(pipe)
    waits = [broker.get_later(asynclet) for _ in range(6)]
    assert all(later.waits(0.05) for later in waits)
    broker.publish(feed, message(ADDRESS, message_id="for-all"))
    for later in waits:
        assert b"for-all" in expect(later.answer(), 200).content


def test_wait_hears_of_its_own_pipe_only(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: a message for another pipe does not end a wait."""
    other = broker.create_pipe()
    broker.join(other, feed, "other")
    later = broker.get_later(broker.asynclet(pipe))
    broker.publish(feed, message("other"))
    assert later.waits()
    broker.publish(feed, message(ADDRESS))
    expect(later.answer(), 200)


def test_wait_ends_with_its_pipe(broker: Client, pipe: str) -> None:
    """Section 5: a wait ends with 404 when the pipe is deleted."""
    later = broker.on(0).get_later(broker.asynclet(pipe))
    assert later.waits()
    broker.on(1).delete(pipe)
    expect(later.answer(), 404)


@pytest.mark.ours
def test_wait_ends_when_the_client_prefers(broker: Client, pipe: str) -> None:
    """Section 5: a wait ends after the client's `Prefer: wait`: 204 with `Preference-Applied`."""
    over = expect(broker.get(broker.asynclet(pipe), prefer="wait=1"), 204)
    assert over.headers["Preference-Applied"] == "wait=1"
    assert over.content == b""
    assert timedelta(seconds=0.9) < over.elapsed < timedelta(seconds=5)


@pytest.mark.ours
def test_wait_of_zero_is_answered_at_once(broker: Client, pipe: str) -> None:
    """Section 5: `Prefer: wait=0` asks whether the message is there, now."""
    over = expect(broker.get(broker.asynclet(pipe), prefer="wait=0"), 204)
    assert over.headers["Preference-Applied"] == "wait=0"
    assert over.elapsed < timedelta(seconds=2)


@pytest.mark.ours
@pytest.mark.parametrize("prefer", ["", "wait=3600"], ids=["none", "more"])
def test_wait_ends_with_the_servers_maximum(small: Client, prefer: str) -> None:
    """Section 5: a wait ends when the server's maximum has passed, whatever the client prefers."""
    asynclet = small.asynclet(small.create_pipe())
    over = expect(small.get(asynclet, prefer=prefer), 204)
    assert over.headers["Preference-Applied"] == f"wait={WAIT_SECONDS}"
    assert over.elapsed < timedelta(seconds=5)


@pytest.mark.ours
def test_message_that_is_there_is_not_waited_for(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: GET of a message that is there answers at once; the preference was applied too."""
    broker.publish(feed, message(ADDRESS))
    answer = expect(broker.get(broker.messages(pipe)[0], prefer="wait=5"), 200)
    assert answer.headers["Preference-Applied"] == "wait=5"
    assert answer.elapsed < timedelta(seconds=3)


@pytest.mark.ours
@pytest.mark.parametrize(
    "prefer", ["wait=0, return=minimal", "respond-async, wait=0", "wait=0; foo=bar", "WAIT=0"]
)
def test_preference_is_found_among_others(broker: Client, pipe: str, prefer: str) -> None:
    """Section 5: `Prefer` has its full syntax (RFC 7240)."""
    answer = expect(broker.get(broker.asynclet(pipe), prefer=prefer), 204)
    assert answer.headers["Preference-Applied"] == "wait=0"


@pytest.mark.ours
def test_answers_to_waits_are_not_stored(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: messages, and answers that there is none, say `Cache-Control: no-store`."""
    asynclet = broker.asynclet(pipe)
    none_yet = expect(broker.get(asynclet, prefer="wait=0"), 204)
    broker.publish(feed, message(ADDRESS))
    here = expect(broker.get(asynclet), 200)
    broker.acknowledge(asynclet)
    gone = expect(broker.get(asynclet), 404)
    assert all("no-store" in answer.headers["Cache-Control"] for answer in (none_yet, here, gone))


# The message


def test_message_can_be_read_again_until_it_is_deleted(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 5: a message can be read until it is deleted, so a lost answer costs nothing."""
    broker.publish(feed, message(ADDRESS, text("news"), message_id="m-1"))
    (held,) = broker.messages(pipe)
    one = broker.on(0)
    assert one.receive(held) == one.receive(held) == one.receive(held)
    assert broker.messages(pipe)


def test_small_contents_come_embedded(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: small contents come embedded: plain text as it is, anything else in base64."""
    broker.publish(
        feed,
        message(ADDRESS, text("plain"), binary(b"\x89PNG", "image/png")),
    )
    for format_client in (broker, broker.in_format(JSON)):
        (received,) = format_client.receive_all(pipe)
        plain, image = received["content"]
        assert (plain["type"], plain["value"]) == ("text/plain", "plain")
        assert plain.get("encoding", "plain") == "plain"
        assert (image["type"], image["encoding"]) == ("image/png", "base64")
        assert data_of(image) == b"\x89PNG"


def test_large_contents_come_by_href_with_their_published_type(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 5: large contents come by `href`, and are read with their published MIME type."""
    content = broker.stage(feed, LARGE, "image/png")
    broker.publish(feed, message(ADDRESS, text("small"), staged(content)))
    (received,) = broker.receive_all(pipe)
    small, large = received["content"]
    assert data_of(small) == b"small"
    got = expect(broker.get(large["href"]), 200)
    assert got.headers["Content-Type"] == "image/png"
    assert got.content == LARGE


@pytest.mark.ours
def test_one_delivered_content_can_be_deleted(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: DELETE of a delivered content is 200, then it is 404, and its message goes on."""
    contents = [staged(broker.stage(feed, LARGE)) for _ in range(2)]
    broker.publish(feed, message(ADDRESS, *contents, text("small")))
    (held,) = broker.messages(pipe)
    first, second, _ = broker.receive(held)["content"]
    expect(broker.delete(first["href"]), 200)
    expect(broker.get(first["href"]), 404)
    expect(broker.delete(first["href"]), 200)
    left = broker.receive(held)["content"]
    assert [urlsplit(content.get("href", "")).path for content in left] == [
        urlsplit(second["href"]).path,
        "",
    ]
    assert broker.get(second["href"]).content == LARGE


@pytest.mark.ours
def test_content_deleted_from_one_pipe_stays_in_the_other(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 5: what a reader deletes is gone from the reader's pipe only."""
    other = broker.create_pipe()
    broker.join(other, feed, ADDRESS)
    broker.publish(feed, message(ADDRESS, staged(broker.stage(feed, LARGE))))
    mine, theirs = (broker.receive_all(each)[0]["content"][0]["href"] for each in (pipe, other))
    expect(broker.delete(mine), 200)
    assert broker.get(theirs).content == LARGE


# The acknowledgement


def test_deleting_a_message_deletes_all_older_ones(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: DELETE of a message takes it and all older ones out of its pipe."""
    broker.publish(feed, *[message(ADDRESS, message_id=str(n)) for n in range(5)])
    held = broker.messages(pipe)
    broker.acknowledge(held[2])
    assert [entry.get("message_id") for entry in broker.listed(pipe)] == ["3", "4", None]
    for uri in held[:3]:
        expect(broker.get(uri), 404)
    for uri in held[3:]:
        expect(broker.get(uri), 200)


def test_deleting_a_message_leaves_other_pipes_alone(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: an acknowledgement counts for its own pipe."""
    other = broker.create_pipe()
    broker.join(other, feed, ADDRESS)
    broker.publish(feed, *[message(ADDRESS, message_id=str(n)) for n in range(2)])
    broker.acknowledge(broker.messages(pipe)[-1])
    assert len(broker.messages(other)) == 2


def test_late_acknowledgement_deletes_nothing_newer(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: DELETE of a message that is gone is 200, and newer messages stay."""
    broker.publish(feed, *[message(ADDRESS, message_id=str(n)) for n in range(3)])
    first, second, _ = broker.messages(pipe)
    broker.acknowledge(second)
    broker.acknowledge(first)
    broker.acknowledge(second)
    assert [entry.get("message_id") for entry in broker.listed(pipe)] == ["2", None]


def test_deleted_message_is_404_at_once(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: GET of a message already deleted is 404, without a wait."""
    broker.publish(feed, message(ADDRESS))
    (held,) = broker.messages(pipe)
    broker.acknowledge(held)
    assert expect(broker.get(held), 404).elapsed < timedelta(seconds=3)


def test_asynclet_stays_where_it_is_when_all_messages_are_deleted(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 5: acknowledging does not move the asynclet: a wait on it goes on."""
    broker.publish(feed, message(ADDRESS), message(ADDRESS))
    asynclet, held = broker.asynclet(pipe), broker.messages(pipe)
    later = broker.get_later(asynclet)
    assert later.waits()
    broker.acknowledge(held[-1])
    assert later.waits()
    assert urlsplit(broker.asynclet(pipe)).path == urlsplit(asynclet).path
    broker.publish(feed, message(ADDRESS))
    expect(later.answer(), 200)


@pytest.mark.ours
def test_deleting_an_asynclet_loses_nothing(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: DELETE of an asynclet before its message exists is 200, and nothing is lost."""
    broker.publish(feed, message(ADDRESS, message_id="first"))
    asynclet = broker.asynclet(pipe)
    expect(broker.delete(asynclet), 200)
    assert len(broker.messages(pipe)) == 1
    broker.publish(feed, message(ADDRESS, message_id="second"))
    assert broker.receive(asynclet)["message_id"] == "second"


@pytest.mark.ours
def test_message_beyond_the_asynclet_is_404(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: what cannot come next is not waited for; to delete it is 200 and loses nothing."""
    broker.publish(feed, message(ADDRESS))
    future = beyond(broker.asynclet(pipe))
    assert expect(broker.get(future), 404).elapsed < timedelta(seconds=3)
    expect(broker.delete(future), 200)
    assert len(broker.messages(pipe)) == 1
