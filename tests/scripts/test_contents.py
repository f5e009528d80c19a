"""Contents of several chunks, one script call at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from restms_cluster.transitions import DomainSweep, FeedCreate, MessageDelete, MessageRead
from restms_cluster.transitions_content import (
    ChunkRead,
    ContentAbandon,
    ContentDelete,
    ContentFinish,
    ContentRead,
    ContentStage,
    ContentUpload,
    PartRead,
)
from tests.leaks import BOUNDS
from tests.scripts.conftest import IDLE, Run, posting, secret

KEEP = 60_000
FREED = 32  # chunks in one call
CONTENT = secret("c")


@pytest.fixture(autouse=True)
def feed(do: Run) -> None:
    do(FeedCreate("default", "news", "", "", "", "", "", 1000))


def put(do: Run, place: int, chunk: bytes, feed: str = "news") -> list[Any]:
    return do(ContentUpload("default", feed, CONTENT, place, KEEP, chunk))


def finish(do: Run, place: int, chunk: bytes, size: int, once: str = "") -> list[Any]:
    return do(
        ContentFinish("default", "news", CONTENT, "a/b", size, place, KEEP, once, KEEP, chunk)
    )


def upload(do: Run, *chunks: bytes) -> None:
    for place, chunk in enumerate(chunks[:-1]):
        assert put(do, place, chunk) == ["ok"]
    assert finish(do, len(chunks) - 1, chunks[-1], sum(map(len, chunks))) == ["ok"]


def read(do: Run, first: int, last: int) -> list[Any]:
    return do(ChunkRead("default", CONTENT, first, last, "", IDLE))


def sweep(do: Run) -> int:
    """Let a node do its housekeeping; return how many calls it took."""
    calls = 1
    while do(DomainSweep("default", "node", 1000, 20, IDLE, BOUNDS))[0] == "more":
        calls += 1
    return calls


def chunks(client: "redis.Redis[bytes]") -> int:
    return len(client.keys(f"*:content:{CONTENT}:*"))


def test_chunks_come_in_order_or_not_at_all(do: Run, client: "redis.Redis[bytes]") -> None:
    assert put(do, 1, b"bb") == ["gone"]  # nothing was begun
    assert put(do, 0, b"aa") == ["ok"]
    assert put(do, 0, b"aa") == ["gone"]  # a late one
    assert put(do, 2, b"cc") == ["gone"]
    assert finish(do, 2, b"cc", 6) == ["gone"]
    assert put(do, 1, b"") == ["ok"]  # only keeps what there is
    assert put(do, 1, b"bb") == ["ok"]
    assert do(ContentRead("default", CONTENT, 10)) == ["missing"]
    assert finish(do, 2, b"c", 5) == ["ok"]
    kind, size, _, data = do(ContentRead("default", CONTENT, 10))[1]
    assert (kind, size, data) == (b"a/b", b"5", b"aabbc")
    assert do(ContentRead("default", CONTENT, 4))[1][3] is None
    assert put(do, 0, b"x", feed="nowhere") == ["missing"]


def test_a_read_ends_with_its_chunk(do: Run) -> None:
    upload(do, b"abc", b"def", b"g")
    assert read(do, 0, 6) == ["ok", b"abc"]
    assert read(do, 1, 6) == ["ok", b"bc"]
    assert read(do, 3, 6) == ["ok", b"def"]
    assert read(do, 4, 4) == ["ok", b"e"]
    assert read(do, 6, 6) == ["ok", b"g"]
    do(ContentDelete("default", CONTENT, "", ""))
    assert read(do, 0, 6) == ["missing"]


def test_a_small_content_is_read_in_part_as_well(do: Run) -> None:
    do(ContentStage("default", "news", CONTENT, "a/b", 5, KEEP, "", 0, 0, (b"abcde",)))
    assert read(do, 0, 4) == ["ok", b"abcde"]
    assert read(do, 1, 3) == ["ok", b"bcd"]


def test_what_is_abandoned_is_freed_unless_it_is_whole(
    do: Run, client: "redis.Redis[bytes]"
) -> None:
    put(do, 0, b"aa")
    assert do(ContentAbandon("default", CONTENT)) == ["ok"]
    assert client.keys("*:content:*") == []
    assert client.keys("*:loose") == []
    assert do(ContentAbandon("default", CONTENT)) == ["ok"]  # again, or what never was
    upload(do, b"aa", b"b")
    assert do(ContentAbandon("default", CONTENT)) == ["ok"]
    assert do(ContentRead("default", CONTENT, 10))[0] == "ok"


def test_many_chunks_are_freed_in_several_calls(do: Run, client: "redis.Redis[bytes]") -> None:
    upload(do, *[b"x"] * (3 * FREED + 5))
    assert do(ContentDelete("default", CONTENT, "", "")) == ["ok"]
    assert do(ContentRead("default", CONTENT, 1)) == ["missing"]
    assert chunks(client) == 2 * FREED + 5
    assert sweep(do) == 3
    assert client.keys("*:content:*") == []
    assert client.keys("*:loose") == []


def test_an_acknowledgement_frees_so_many_chunks_at_most(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    reader = pipe("a", news="x")
    upload(do, *[b"x"] * (FREED + 5))
    do(posting("news", ("x", "1", b"m", CONTENT)))
    assert client.keys("*:loose") == []
    assert client.ttl(f"restms:{{default}}:content:{CONTENT}") == -1
    assert do(MessageRead("default", reader, 1, 10, IDLE))[3][0][:2] == [
        b"a/b",
        b"%d" % (FREED + 5),
    ]
    assert do(PartRead("default", reader, 1, 1, 10, IDLE))[2] == CONTENT.encode()
    do(MessageDelete("default", reader, 1, "", "", IDLE))
    assert chunks(client) == 5
    sweep(do)
    assert client.keys("*:content:*") == []


def test_many_contents_of_one_chunk_are_freed_in_several_calls(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    reader, data = pipe("a", news="x"), b"x" * 70_000
    names = [f"{number:032x}" for number in range(FREED + 5)]
    for content in names:
        do(ContentStage("default", "news", content, "a/b", len(data), KEEP, "", 0, 0, (data,)))
        do(posting("news", ("x", "1", b"m", content)))
    do(MessageDelete("default", reader, len(names), "", "", IDLE))
    assert len(client.keys("*:content:*")) == 5
    assert do(ContentRead("default", names[-1], 0)) == ["missing"]
    sweep(do)
    assert client.keys("*:content:*") == []
    assert client.keys("*:loose") == []


def test_what_nobody_publishes_in_time_is_freed(do: Run, client: "redis.Redis[bytes]") -> None:
    upload(do, b"aa", b"b")
    sweep(do)
    assert do(ContentRead("default", CONTENT, 10))[0] == "ok"
    client.zadd("restms:{default}:loose", {CONTENT: 1})
    sweep(do)
    assert do(ContentRead("default", CONTENT, 10)) == ["missing"]
    assert do(posting("news", ("x", "1", b"m", CONTENT))) == ["no_content"]
    assert client.keys("*:content:*") == []


def test_an_upload_with_a_key_is_known_when_it_is_whole(
    do: Run, client: "redis.Redis[bytes]"
) -> None:
    put(do, 0, b"aa")
    assert finish(do, 1, b"b", 3, once="aa bb") == ["ok"]
    assert finish(do, 1, b"b", 3, once="aa bb") == ["exists", CONTENT.encode()]
    assert finish(do, 1, b"b", 3, once="aa cc") == ["once_differs"]


def test_a_repeated_message_frees_the_chunks_of_its_contents(
    do: Run, client: "redis.Redis[bytes]"
) -> None:
    upload(do, b"aa", b"b")
    assert do(posting("news", ("nobody", "1", b"m", CONTENT), once="aa bb"))[0] == "ok"
    assert client.keys("*:content:*") == []  # nobody wanted it
    upload(do, b"aa", b"b")
    assert do(posting("news", ("nobody", "1", b"m", CONTENT), once="aa bb"))[0] == "ok"
    assert client.keys("*:content:*") == []  # nor is a repeat routed
