"""4/AMQP9's feeds that route: fanout, direct, headers."""

from collections.abc import Callable

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from restms_cluster import matching
from restms_cluster.model import Header
from restms_cluster.transitions import (
    DomainConfigure,
    FeedCreate,
    JoinDelete,
    MessageDelete,
    MessagePull,
    MessageRead,
    PipeCreate,
    PipeRead,
)
from tests.leaks import BOUNDS, run
from tests.scripts.conftest import IDLE, Run, joining, listed, posting, secret
from tests.servers import Server

NAMES, VALUES = st.sampled_from("abc"), st.sampled_from(["1", "2", ""])
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)


def make(do: Run, kind: str) -> None:
    assert do(FeedCreate("default", "news", kind, "", "", "", "", 10))[0] == "ok"


def held(do: Run, pipe: str) -> list[str]:
    return [address for address, _ in listed(do, pipe)]


def test_fanout_routes_to_every_pipe_once(do: Run, pipe: Callable[..., str]) -> None:
    make(do, "fanout")
    one, other = pipe("a"), pipe("b")
    for number, (reader, address) in enumerate([(one, "x"), (one, "y"), (other, "x")]):
        assert do(joining(reader, f"{number:032x}", "news", address))[0] == "ok"
    assert do(posting("news", ("anything", "", b"m"))) == ["ok", 0, 2, 0]
    assert held(do, one) == held(do, other) == ["anything"]
    do(JoinDelete("default", f"{0:032x}", "", "", IDLE, BOUNDS))
    assert do(posting("news", ("again", "", b"m"))) == ["ok", 0, 2, 0]
    do(JoinDelete("default", f"{1:032x}", "", "", IDLE, BOUNDS))
    assert do(posting("news", ("once more", "", b"m"))) == ["ok", 0, 1, 0]


def test_direct_routes_where_addresses_are_equal(do: Run, pipe: Callable[..., str]) -> None:
    make(do, "direct")
    one, other = pipe("a"), pipe("b")
    do(joining(one, secret("1"), "news", "x.*"))
    do(joining(other, secret("2"), "news", "x.y"))
    assert do(posting("news", ("x.y", "", b"m"), ("x.*", "", b"m"), ("", "", b"m"))) == [
        *("ok", 0, 1, 0, 1, 0, 0, 0),
    ]
    assert (held(do, one), held(do, other)) == (["x.*"], ["x.y"])


def test_a_message_for_many_is_stored_once_and_freed_by_the_last(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    make(do, "fanout")
    readers = [pipe(letter) for letter in "abcdef"]
    for number, reader in enumerate(readers):
        do(joining(reader, f"{number:032x}", "news"))
    do(posting("news", ("x", "", b"m" * 1_000_000)))
    assert client.memory_usage(client.keys("*:body:*")[0], samples=0) >= 1_000_000
    for reader in readers:
        assert (
            sum(client.memory_usage(key, samples=0) for key in client.keys(f"*{reader}*")) < 20_000
        )
    for reader in readers:
        assert len(client.keys("*:body:*")) == 1
        do(MessageDelete("default", reader, 1, "", "", IDLE))
    assert client.keys("*:body:*") == []


def wants(join: list[tuple[str, str]], mode: str, message: list[tuple[str, str]]) -> bool:
    """Say what a headers feed does, in a line."""
    return (any if mode == "any" else all)(header in message for header in join)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(HEADERS, st.sampled_from(["all", "any", None])), min_size=1, max_size=6),
    st.lists(HEADERS, min_size=1, max_size=6),
)
def test_headers_find_what_the_reference_finds(
    scripts_server: Server,
    joins: list[tuple[list[tuple[str, str]], str | None]],
    messages: list[list[tuple[str, str]]],
) -> None:
    client = scripts_server.client()
    client.flushall()
    run(client, DomainConfigure("default", "", ("default", "", "", "", "", "")))
    make(lambda transition: run(client, transition), "headers")
    for number, (headers, mode) in enumerate(joins):
        reader = f"{number:032x}"
        run(
            client, PipeCreate("default", reader, f"p{reader}", f"{number:032x}", "", "", 100, IDLE)
        )
        wanted = [Header(*header) for header in headers]
        if mode is not None:
            wanted.insert(len(wanted) // 2, Header("x-match", mode))
        match = matching.wanted(wanted)
        assert run(client, joining(reader, f"{1000 + number:032x}", "news", match=match))[0] == "ok"
    posted = [
        ("", "", b"m", "", matching.carried([Header(*header) for header in headers]))
        for headers in messages
    ]
    counts = [
        sum(wants(headers, mode or "all", message) for headers, mode in joins)
        for message in messages
    ]
    assert run(client, posting("news", *posted)) == [
        *("ok", 0),
        *(n for count in counts for n in (count, 0)),
    ]
    for number in range(len(joins)):
        run(client, JoinDelete("default", f"{1000 + number:032x}", "", "", IDLE, BOUNDS))
    assert run(client, posting("news", posted[0])) == ["ok", 0, 0, 0]
    assert not client.keys("*:tree")
    assert len(client.keys("restms:{default}:index:*")) == 1 + len(joins)
    client.flushall()
    client.close()


def test_a_join_has_so_many_headers(do: Run, pipe: Callable[..., str]) -> None:
    make(do, "headers")
    reader = pipe("a")
    headers = [Header("name", str(n)) for n in range(33)]
    most, more = matching.wanted(headers[:32]), matching.wanted(headers)
    assert do(joining(reader, secret("1"), "news", match=more)) == ["bad_join"]
    assert do(joining(reader, secret("1"), "news", match=most))[0] == "ok"
    carried = matching.carried(headers)
    assert do(posting("news", ("", "", b"m", "", carried))) == ["ok", 0, 1, 0]
    assert do(joining(reader, secret("2"), "news", match="")) == ["bad_match"]


@pytest.mark.parametrize("kind", ["fanout", "direct", "topic", "headers"])
def test_an_ondemand_pipe_is_joined_to_feeds_that_queue_only(do: Run, kind: str) -> None:
    make(do, kind)
    reader = secret("a")
    do(PipeCreate("default", reader, "pa", secret("1"), "ondemand", "", 100, IDLE))
    assert do(joining(reader, secret("2"), "news")) == ["not_queueing"]
    assert do(joining(reader, secret("2"), "default")) == ["not_queueing"]
    assert do(PipeRead("default", reader, 10, IDLE))[5] == []
    assert do(MessageRead("default", reader, 1, 10, IDLE)) == ["next", 1]
    assert do(MessagePull("default", reader, 1, 10, 1, BOUNDS)) == ["next", 1]
