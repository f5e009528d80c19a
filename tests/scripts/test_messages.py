"""Publishing, reading, acknowledging."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from restms_cluster.transitions import FeedCreate, MessageDelete, MessageRead, PipeDelete, PipeRead
from restms_cluster.transitions_content import ContentStage, PartDelete, PartRead
from tests.leaks import BOUNDS, LIBRARY
from tests.scripts.conftest import IDLE, PLAIN, Run, joining, posting, secret

MOST = 100
EMBED = 1000


def publish(do: Run, feed: str, *messages: tuple[str, bytes, str], most: int = MOST) -> list[Any]:
    posted = [(address, "", blob, contents) for address, blob, contents in messages]
    return do(posting(feed, *posted, most=most))


def read(do: Run, pipe: str, number: int) -> list[Any]:
    return do(MessageRead("default", pipe, number, EMBED, IDLE))


def acknowledge(do: Run, pipe: str, number: int) -> list[Any]:
    return do(MessageDelete("default", pipe, number, "", "", IDLE))


def stage(do: Run, feed: str, letter: str, data: bytes) -> str:
    content = secret(letter)
    assert do(
        ContentStage("default", feed, content, "image/png", len(data), 60_000, "", 0, 0, (data,))
    ) == ["ok"]
    return content


def test_messages_are_numbered_and_the_next_one_is_known(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="oslo")
    assert read(do, reader, 1)[0] == "next"
    assert publish(do, "news", ("oslo", b"rain", ""), ("oslo", b"sun", "")) == ["ok", 1, 1, 0, 1, 0]
    assert [read(do, reader, n)[2] for n in (1, 2)] == [b"rain", b"sun"]
    assert read(do, reader, 3)[0] == "next"
    assert read(do, reader, 4) == ["missing"]


def test_only_joins_at_the_address_get_a_message(do: Run, pipe: Callable[..., str]) -> None:
    oslo, rome = pipe("a", news="oslo"), pipe("b", news="rome")
    assert publish(do, "news", ("rome", b"sun", ""), ("paris", b"wind", "")) == [
        "ok",
        1,
        1,
        0,
        0,
        0,
    ]
    assert read(do, oslo, 1)[0] == "next"
    assert read(do, rome, 1)[2] == b"sun"


def test_acknowledging_takes_all_older_ones_too(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    publish(do, "news", *[("x", b"%d" % n, "") for n in range(1, 6)])
    assert acknowledge(do, reader, 3) == ["ok", 3]
    assert [read(do, reader, n)[0] for n in range(1, 7)] == ["missing"] * 3 + ["ok", "ok", "next"]
    assert acknowledge(do, reader, 3) == ["ok", 0]  # once more changes nothing
    assert acknowledge(do, reader, 6) == ["ok", 0]  # what has not come yet is left to come
    assert read(do, reader, 5)[0] == "ok"
    assert acknowledge(do, reader, 99) == ["ok", 0]
    assert read(do, reader, 5)[0] == "ok"


def test_a_message_for_many_pipes_is_stored_once(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    readers = [pipe(letter, news="x") for letter in "abc"]
    publish(do, "news", ("x", b"shared", ""))
    assert len(client.keys("*:body:*")) == 1
    for reader in readers:
        assert read(do, reader, 1)[2] == b"shared"
        assert len(client.keys("*:body:*")) == 1
        acknowledge(do, reader, 1)
    assert client.keys("*:body:*") == []


def test_many_shared_messages_are_freed_in_chunks(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    one, other = pipe("a", news="x"), pipe("b", news="x")
    publish(do, "news", *[("x", b"m", "")] * 2500, most=5000)
    answers = []
    while (answer := acknowledge(do, one, 2500)) == ["more", 1000]:
        answers.append(answer)
    assert answer == ["ok", 500]
    assert len(answers) == 2
    assert len(client.keys("*:body:*")) == 2500
    assert do(PipeDelete("default", other, "", "", BOUNDS)) == ["ok"]
    # The pipe is gone at once; what it held is freed by the sweep (and checked after the test).
    assert do(PipeRead("default", other, 10, IDLE)) == ["missing"]
    assert 0 < len(client.keys("*:body:*")) <= 1500


def test_a_staged_content_is_published_once(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    content = stage(do, "news", "c", b"pixels")
    assert publish(do, "news", ("x", b"m", content))[0] == "ok"
    parts = read(do, reader, 1)[3]
    assert parts[0][0] == b"image/png"
    assert parts[0][3] == b"pixels"
    assert publish(do, "news", ("x", b"m", content)) == ["no_content"]
    assert read(do, reader, 2)[0] == "next"


def test_a_content_named_twice_in_one_request_routes_nothing(
    do: Run, pipe: Callable[..., str]
) -> None:
    reader = pipe("a", news="x")
    content = stage(do, "news", "c", b"pixels")
    assert publish(do, "news", ("x", b"m", content), ("x", b"m", content)) == ["no_content"]
    assert read(do, reader, 1)[0] == "next"
    assert publish(do, "news", ("x", b"m", content))[0] == "ok"  # nor was it used up


def test_a_content_of_another_feed_routes_nothing(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x", sport="x")
    content = stage(do, "sport", "c", b"pixels")
    assert publish(do, "news", ("x", b"first", ""), ("x", b"m", content)) == ["other_feed"]
    assert read(do, reader, 1)[0] == "next"


def test_contents_are_freed_with_the_last_message(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    readers = [pipe("a", news="x"), pipe("b", news="x")]
    publish(do, "news", ("x", b"m", stage(do, "news", "c", b"pixels")))
    publish(do, "news", ("nobody", b"m", stage(do, "news", "d", b"unwanted")))
    assert len(client.keys("*:content:*")) == 1
    acknowledge(do, readers[0], 1)
    assert len(client.keys("*:content:*")) == 1
    do(PipeDelete("default", readers[1], "", "", BOUNDS))
    assert client.keys("*:content:*") == []


def test_large_contents_are_not_read_with_their_message(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    content = stage(do, "news", "c", b"p" * (EMBED + 1))
    publish(do, "news", ("x", b"m", f"- {content}"))
    parts = read(do, reader, 1)[3]
    assert parts[0] == b""
    assert parts[1][:2] == [b"image/png", b"1001"]
    assert parts[1][3] is None
    assert do(PartRead("default", reader, 1, 2, 2 * EMBED, IDLE))[1][3] == b"p" * (EMBED + 1)
    assert do(PartRead("default", reader, 1, 1, EMBED, IDLE))[0] == "inside"


def test_a_part_can_be_dropped_from_one_pipe(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    one, other = pipe("a", news="x"), pipe("b", news="x")
    publish(do, "news", ("x", b"m", stage(do, "news", "c", b"pixels")))
    assert do(PartDelete("default", one, 1, 1, "", "", IDLE)) == ["ok"]
    assert do(PartRead("default", one, 1, 1, EMBED, IDLE)) == ["missing"]
    assert read(do, one, 1)[4] == [b"1-1"]
    assert read(do, other, 1)[4] == []
    acknowledge(do, one, 1)
    assert client.keys("*:dropped") == []


def test_full_pipes_are_passed_over_and_counted(do: Run, pipe: Callable[..., str]) -> None:
    full, other = pipe("a", news="x"), pipe("b", news="x")
    publish(do, "news", ("x", b"1", ""), most=1)
    acknowledge(do, other, 1)
    before = do(PipeRead("default", full, 10, IDLE))
    assert publish(do, "news", ("x", b"2", ""), most=1) == ["ok", 1, 1, 1]
    assert do(PipeRead("default", full, 10, IDLE)) == before
    assert read(do, full, 2)[0] == "next"
    assert read(do, other, 2)[2] == b"2"


def test_when_all_who_want_it_are_full_nothing_of_the_request_is_routed(
    do: Run, pipe: Callable[..., str]
) -> None:
    reader, other = pipe("a", news="x"), pipe("b", news="y")
    messages = [("y", b"y", ""), ("x", b"1", ""), ("x", b"2", "")]
    assert publish(do, "news", *messages, most=1) == ["full"]
    assert read(do, reader, 1)[0] == "next"
    assert read(do, other, 1)[0] == "next"
    assert publish(do, "news", *messages[:2], most=1)[0] == "ok"


@pytest.mark.parametrize("size", [10, 5000])
def test_reading_finds_small_and_large_blobs(do: Run, pipe: Callable[..., str], size: int) -> None:
    reader = pipe("a", news="x")
    publish(do, "news", ("x", b"b" * size, ""))
    assert read(do, reader, 1)[2] == b"b" * size


def test_a_feed_that_is_not_there_routes_nothing(do: Run) -> None:
    assert publish(do, "nowhere", ("x", b"m", "")) == ["missing"]


def test_a_stale_condition_acknowledges_nothing(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    publish(do, "news", ("x", b"m", ""))
    arrived = read(do, reader, 1)[1].partition(b"-")[2].decode()
    assert do(MessageDelete("default", reader, 1, "12345", "", IDLE)) == ["stale"]
    assert do(MessageDelete("default", reader, 1, "", "1000", IDLE)) == ["stale"]
    assert read(do, reader, 1)[0] == "ok"
    assert do(MessageDelete("default", reader, 1, f"12345 {arrived}", "", IDLE)) == ["ok", 1]
    assert read(do, reader, 1) == ["missing"]


def test_a_request_comes_to_so_many_deliveries(do: Run, pipe: Callable[..., str]) -> None:
    for letter in "abc":
        pipe(letter, news="x")
    two = [("x", "", b"m")] * 2
    assert do(posting("news", *two, deliveries=5)) == ["too_many"]
    assert read(do, secret("a"), 1)[0] == "next"
    assert do(posting("news", *two, deliveries=6))[0] == "ok"


def test_a_deleted_pipe_is_not_revived_by_its_parts(do: Run, pipe: Callable[..., str]) -> None:
    reader, _ = pipe("a", news="x"), pipe("b", news="x")
    publish(do, "news", *[("x", b"m", "")] * 1500, most=5000)
    publish(do, "news", ("x", b"m", stage(do, "news", "c", b"pixels")), most=5000)
    do(PipeDelete("default", reader, "", "", BOUNDS))  # so much is freed by the sweep
    assert do(PartRead("default", reader, 1501, 1, EMBED, IDLE)) == ["missing"]
    assert do(PartDelete("default", reader, 1501, 1, "", "", IDLE)) == ["ok"]


def test_reading_and_acknowledging_go_on_when_memory_is_full(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    reader = pipe("a", news="x")
    publish(do, "news", ("x", b"text", ""))
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            publish(do, "news", ("x", b"text", ""))
        assert read(do, reader, 1)[2] == b"text"
        assert acknowledge(do, reader, 1) == ["ok", 1]
    finally:
        client.config_set("maxmemory", "0")


def test_private_feeds_route_like_public_ones(do: Run, pipe: Callable[..., str]) -> None:
    feed = "~" + secret("f")
    assert do(FeedCreate("default", feed, "", "", "", "", "", 10))[0] == "ok"
    reader = pipe("a")
    do(joining(reader, secret("j"), feed, "x"))
    assert publish(do, feed, ("x", b"text", "")) == ["ok", 1, 1, 0]
    assert read(do, reader, 1)[2] == b"text"


def test_long_backlogs_are_acknowledged_in_several_calls(
    do: Run, client: "redis.Redis[bytes]", pipe: Callable[..., str]
) -> None:
    readers = [pipe(letter, news=letter) for letter in "ab"]
    for letter in "ab":
        assert do(posting("news", *[(letter, "", PLAIN)] * 8))[0] == "ok"
    text = LIBRARY.text("message_delete").replace("local TRIMMED = 100000", "local TRIMMED = 5")
    both = [argument for one in readers for argument in (one, 8, "", "")]

    def acknowledge() -> list[tuple[bytes, int]]:
        return [
            (word, gone) for word, gone in client.eval(text, 1, "restms:{default}", IDLE, *both)
        ]

    def held() -> list[int]:
        return [int(client.xlen(f"restms:{{default}}:pipe:{one}:messages")) for one in readers]

    assert (acknowledge(), held()) == ([(b"more", 5), (b"more", 0)], [3, 8])
    assert (acknowledge(), held()) == ([(b"ok", 3), (b"more", 2)], [0, 6])
    assert (acknowledge(), held()) == ([(b"ok", 0), (b"more", 5)], [0, 1])
    assert (acknowledge(), held()) == ([(b"ok", 0), (b"ok", 1)], [0, 0])
