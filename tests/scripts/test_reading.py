"""Reading in volume: many messages of a pipe in one call."""

import time
from collections.abc import Callable
from typing import Any

import redis

from restms_cluster.transitions import (
    FeedCreate,
    JoinCreate,
    MessageDelete,
    MessagesRead,
    PipeCreate,
    PipeDelete,
)
from restms_cluster.transitions_content import PartDelete
from tests.leaks import BOUNDS
from tests.scripts.conftest import IDLE, Run, joining, posting, secret

EMBED = 1000
ROOM = 1_000_000


def read(do: Run, pipe: str, after: int = 0, most: int = 100, room: int = ROOM) -> list[Any]:
    return do(MessagesRead("default", pipe, after, most, room, EMBED, IDLE))


def numbered(answer: list[Any]) -> list[tuple[int, Any]]:
    """Return what was read: each message's number and what is told of it."""
    found = answer[2]
    return [
        (int(entry.partition(b"-")[0]), told)
        for entry, told in zip(found[::2], found[1::2], strict=True)
    ]


def publish(do: Run, *blobs: str, feed: str = "news", address: str = "x", terms: str = "") -> None:
    messages = [(address, "", blob, "", "", terms) for blob in blobs]
    assert do(posting(feed, *messages))[0] == "ok"


def test_messages_come_in_order_and_go_on_where_one_left(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    publish(do, "one", "two", "three")
    first = read(do, reader, most=2)
    assert first[:2] == ["ok", b"2"]
    assert numbered(first) == [(1, b"one"), (2, b"two")]
    rest = read(do, reader, after=2)
    assert numbered(rest) == [(3, b"three")]
    assert read(do, reader, after=3) == ["next", b"3", 0]


def test_what_was_acknowledged_is_not_read(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    publish(do, "one", "two", "three")
    do(MessageDelete("default", reader, 2, "", "", IDLE))
    assert numbered(read(do, reader)) == [(3, b"three")]


def test_a_number_that_has_not_come_yet_counts_for_nothing(
    do: Run, pipe: Callable[..., str]
) -> None:
    """A Redis that was restored to an earlier state gives numbers out again."""
    reader = pipe("a", news="x")
    assert read(do, reader, after=7) == ["next", b"0", 0]
    publish(do, "one")
    assert numbered(read(do, reader, after=7)) == [(1, b"one")]


def test_bytes_are_bounded_but_one_message_always_comes(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    publish(do, *["y" * 100] * 5)
    assert [number for number, _ in numbered(read(do, reader, room=250))] == [1, 2]
    assert [number for number, _ in numbered(read(do, reader, room=1))] == [1]


def test_bodies_count_as_well(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    publish(do, *["y" * 10_000] * 5)  # too large for an entry
    found = numbered(read(do, reader, room=25_000))
    assert found == [(1, b"y" * 10_000), (2, b"y" * 10_000)]


def test_shared_messages_come_as_their_blob(do: Run, pipe: Callable[..., str]) -> None:
    readers = [pipe(letter, news="x") for letter in "ab"]
    publish(do, "shared")
    for reader in readers:
        assert numbered(read(do, reader)) == [(1, b"shared")]


def test_expired_messages_are_passed_over(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    reader = pipe("a", news="x")
    publish(do, "short", terms="1 0 -")
    publish(do, "long")
    publish(do, "short", terms="1 0 -")
    stream = f"restms:{{default}}:pipe:{reader}:messages"
    expiry = int(client.xrange(stream, 3, 3)[0][1][b"e"])
    while time.time() * 1000 <= expiry + 1:
        pass  # a millisecond or two, for the last of them
    assert numbered(read(do, reader)) == [(2, b"long")]
    assert read(do, reader, most=1)[:2] == ["more", b"1"]
    assert read(do, reader, after=2)[:2] == ["more", b"3"]
    assert read(do, reader, after=3) == ["next", b"3", 0]


def test_what_a_reader_took_out_is_told(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    publish(do, "one", "two")
    do(PartDelete("default", reader, 2, 1, "", "", IDLE))
    (_, one), (_, two) = numbered(read(do, reader))
    assert (one[0], one[2], one[4]) == (b"ok", b"one", [])
    assert (two[2], two[4]) == (b"two", [b"2-1"])


def test_an_ondemand_pipe_tells_whether_it_could_take_one(do: Run) -> None:
    reader = secret("d")
    do(PipeCreate("default", reader, f"p{reader}", secret("0"), "ondemand", "", 100, IDLE))
    do(FeedCreate("default", "jobs", "rotator", "", "", "", "", 1000))
    assert do(joining(reader, secret("1"), "jobs"))[0] == "ok"
    assert read(do, reader) == ["next", b"0", 1]


def test_a_pipe_that_is_not_there(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    do(PipeDelete("default", reader, "", "", BOUNDS))
    assert read(do, reader) == ["missing"]


def test_a_message_of_a_queue_comes_like_any_other(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a")
    do(FeedCreate("default", "jobs", "rotator", "", "", "", "", 1000))
    join = JoinCreate("default", reader, secret("2"), "jobs", "", "", b"", "all", 10, IDLE, BOUNDS)
    assert do(join)[0] == "ok"
    publish(do, "job", feed="jobs")
    assert numbered(read(do, reader)) == [(1, b"job")]
