"""A script that takes several calls does the same with them as if each had come alone."""

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restms_cluster.scripts import Grouped
from restms_cluster.transitions import (
    DomainConfigure,
    DomainDue,
    FeedCreate,
    MessageDelete,
    MessagePublish,
    MessageRead,
    PipeCreate,
)
from restms_cluster.transitions_content import ContentStage
from tests.leaks import BOUNDS, LIBRARY, check_no_leaks, run, told
from tests.scripts.conftest import IDLE, PLAIN, Run, joining, listed, posting, secret
from tests.servers import Server, start_server


def group(client: "redis.Redis[bytes]", *calls: Grouped, large: int = 500) -> list[list[Any]]:
    """Make several calls of one script at once; a message for more than `large` is a work."""
    first = calls[0]
    assert all(call.head() == first.head() for call in calls)
    arguments = [argument for call in calls for argument in call.call()]
    text = re.sub(r"(?m)^local LARGE = \d+", f"local LARGE = {large}", LIBRARY.text(first.script()))
    replies = client.eval(text, *first.head(), *arguments)
    return [told(call, [reply]) for call, reply in zip(calls, replies, strict=True)]


def test_each_request_is_answered_and_refused_for_itself(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    reader = pipe("a", news="x")
    assert group(
        client,
        posting("news", ("x", "1", PLAIN), ("no", "2", PLAIN)),
        posting("none", ("x", "3", PLAIN)),
        posting("news", ("x", "4", PLAIN)),
    ) == [["ok", 1, 1, 0, 0, 0], ["missing"], ["ok", 1, 1, 0]]
    assert listed(do, reader) == [("x", "1"), ("x", "4")]


def test_what_is_refused_takes_no_room_from_the_next(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    reader = pipe("a", news="x")
    answers = group(
        client,
        posting("news", *[("x", str(n), PLAIN) for n in range(4)], most=3),
        posting("news", ("x", "4", PLAIN, secret("c")), most=3),
        posting("news", *[("x", str(n), PLAIN) for n in range(5, 8)], most=3),
        posting("news", ("x", "8", PLAIN), most=3),
    )
    assert answers == [["full"], ["no_content"], ["ok", 1, 1, 0, 1, 0, 1, 0], ["full"]]
    assert listed(do, reader) == [("x", "5"), ("x", "6"), ("x", "7")]


def test_a_content_is_published_by_the_first_of_a_group(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    pipe("a", news="x")
    do(ContentStage("default", "news", secret("c"), "a/b", 1, IDLE, "", 0, 0, (b"x",)))
    one = posting("news", ("x", "1", PLAIN, secret("c")))
    assert group(client, one, one) == [["ok", 1, 1, 0], ["no_content"]]


def test_a_repeat_within_a_group_is_known(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    reader = pipe("a", news="x")
    one = posting("news", ("x", "1", PLAIN), once="aa bb")
    other = posting("news", ("x", "2", PLAIN), once="aa cc")
    assert group(client, one, one, other) == [["ok", 1, 1, 0]] * 2 + [["once_differs"]]
    assert listed(do, reader) == [("x", "1")]
    do(FeedCreate("default", "dedup", "", "", "", "", "60", 100))
    again = posting("dedup", ("x", "1", PLAIN), ("x", "1", PLAIN))
    assert group(client, again, again) == [["ok", 1, 0, 0, 0, 0]] * 2


def test_a_feed_that_queues_takes_no_more_than_it_may(
    client: "redis.Redis[bytes]", do: Run
) -> None:
    do(FeedCreate("default", "work", "rotator", "", "", "", "", 100))
    posts = [posting("work", ("", str(n), PLAIN), ("", str(n), PLAIN), queue=5) for n in range(4)]
    assert [answer[0] for answer in group(client, *posts)] == [
        "ok",
        "ok",
        "queue_full",
        "queue_full",
    ]


def test_who_comes_behind_dear_requests_is_told_to_ask_alone(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    do(FeedCreate("default", "words", "topic", "", "", "", "", 100))
    reader = pipe("a")
    for n, words in enumerate(itertools.product("a*", repeat=7)):
        do(joining(reader, f"{n:032x}", "words", ".".join(words)))

    def posts(first: int, count: int) -> MessagePublish:
        messages = [(f"a.a.a.a.a.a.a.{first + n}", "", PLAIN) for n in range(count)]
        return posting("words", *messages, most=1000)

    # All of them ask for more nodes of the tree than a call may, each by itself does not.
    answers = group(client, *[posts(n * 100, 100) for n in range(10)])
    assert answers[0][0] == "ok"
    assert answers[-1] == ["apart"]
    assert do(posts(900, 100))[0] == "ok"
    assert do(posts(0, 1000)) == ["too_dear"]


def test_messages_are_read_and_acknowledged_in_groups(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    one, two = pipe("a", news="x"), pipe("b", news="x")
    do(posting("news", *[("x", str(n), b"text") for n in range(3)]))
    reads = [
        MessageRead("default", name, n, 100, IDLE) for name, n in ((one, 1), (two, 3), (two, 4))
    ]
    reads.append(MessageRead("default", secret("9"), 1, 100, IDLE))
    assert [answer[0] for answer in group(client, *reads)] == ["ok", "ok", "next", "missing"]
    deletes = [MessageDelete("default", name, n, "", "", IDLE) for name, n in ((one, 2), (two, 3))]
    deletes.append(MessageDelete("default", one, 3, "12345", "", IDLE))
    assert group(client, *deletes) == [["ok", 2], ["ok", 3], ["stale"]]
    assert [len(listed(do, name)) for name in (one, two)] == [1, 0]


def test_what_a_refused_request_would_have_left_is_forgotten(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    pipes = [pipe(letter) for letter in "abcd"]
    for name in ("all", "others"):
        do(FeedCreate("default", name, "fanout", "", "", "", "", 100))
    for number, name in enumerate(pipes[:3]):
        do(joining(name, f"{number:032x}", "all"))
        do(joining(pipes[number + 1], f"{number:031x}f", "others"))
    answers = group(
        client,
        posting("default", (f"p{pipes[3]}", "1", PLAIN)),
        posting("all", ("", "2", PLAIN), ("", "3", PLAIN), ("", "4", PLAIN, secret("e"))),
        posting("others", ("", "5", PLAIN)),
        posting("default", (f"p{pipes[0]}", "6", PLAIN)),
        large=2,
    )
    assert [answer[0] for answer in answers] == ["ok", "no_content", "ok", "ok"]
    while do(DomainDue("default", "node", BOUNDS))[0] == "more":
        pass
    held = [[message_id for _, message_id in listed(do, name)] for name in pipes]
    assert held == [["6"], ["5"], ["5"], ["1", "5"]]


def test_what_breaks_in_one_call_does_not_break_the_others(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    reader, other = pipe("a", news="x"), pipe("b", news="y")
    do(posting("news", ("y", "0", PLAIN)))
    stream = f"restms:{{default}}:pipe:{other}:messages"
    client.rename(stream, "kept")
    client.set(stream, "somebody wrote over it")
    answers = group(client, *[posting("news", (address, "1", PLAIN)) for address in "xyx"])
    assert [answer[0] for answer in answers] == ["ok", "broken", "ok"]
    reads = [MessageRead("default", name, 1, 100, IDLE) for name in (reader, other, reader)]
    assert [answer[0] for answer in group(client, *reads)] == ["ok", "broken", "ok"]
    deletes = [MessageDelete("default", name, 1, "", "", IDLE) for name in (other, reader)]
    assert [answer[0] for answer in group(client, *deletes)] == ["broken", "ok"]
    client.rename("kept", stream)


# --- beside calls that come alone ----------------------------------------------------------

FEEDS = (("default", ""), ("fan", "fanout"), ("work", "rotator"), ("words", "topic"))
PIPES = "abc"
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["", "x", "x.y", *(f"p{secret(letter)}" for letter in PIPES)]),
        st.sampled_from(["", "id"]),
        st.sampled_from([PLAIN, b"long" * 400, b"large" * 1000]),
        st.just("") | st.just(secret("c")),
        st.just(""),
        st.sampled_from(["", "", "60000 3 -", "- 0 +60000"]),
    ),
    min_size=1,
    max_size=4,
)
REQUESTS = st.lists(
    st.tuples(st.sampled_from([name for name, _ in FEEDS[1:]]), MESSAGES, st.integers(0, 3)),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def own_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator["redis.Redis[bytes]"]:
    with closing(start_server(tmp_path_factory.mktemp("redis"))) as server:
        server: Server
        yield server.client()


def world(client: "redis.Redis[bytes]", domain: str) -> None:
    feed = ("default", "", "Default feed", "", "", "")
    run(client, DomainConfigure(domain, "A domain", feed))
    for name, kind in FEEDS[1:]:
        run(client, FeedCreate(domain, name, kind, "", "", "", "60" if kind == "topic" else "", 9))
    for letter in PIPES:
        name = secret(letter)
        run(client, PipeCreate(domain, name, f"p{name}", secret("0" + letter), "", "", 9, IDLE))
        for number, (feed, address) in enumerate([("fan", ""), ("work", ""), ("words", "x.#")]):
            made = joining(name, secret(f"{letter}{number}"), feed, address)
            assert run(client, replace(made, domain=domain))[0] == "ok"
    content = ContentStage(domain, "fan", secret("c"), "a/b", 1, IDLE, "", 0, 0, (b"x",))
    run(client, content)


def seen(client: "redis.Redis[bytes]", domain: str) -> list[list[tuple[Any, ...]]]:
    """What all pipes hold: all that a reader is told of it."""
    found = []
    for letter in PIPES:
        reads = [MessageRead(domain, secret(letter), number, 100, IDLE) for number in range(1, 12)]
        held = [run(client, read) for read in reads]
        # Its identity and the times differ.
        found.append([(one[0], *one[2:3], len(one[3:4]), *one[4:]) for one in held])
    return found


@given(REQUESTS, st.sampled_from([1, 500]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_group_does_what_its_calls_would_do_alone(
    own_client: "redis.Redis[bytes]", requests: list[tuple[str, list[Any], int]], large: int
) -> None:
    own_client.flushall()
    for domain in ("alone", "together"):
        world(own_client, domain)

    def posts(domain: str) -> Iterator[MessagePublish]:
        for feed, messages, key in requests:
            once = f"a{key} b{len(messages)}" if key else ""
            yield replace(posting(feed, *messages, most=4, queue=4, once=once), domain=domain)

    alone = [group(own_client, one, large=large)[0] for one in posts("alone")]
    assert group(own_client, *posts("together"), large=large) == alone
    assert seen(own_client, "together") == seen(own_client, "alone")
    for domain in ("alone", "together"):  # also when the works are done
        while run(own_client, DomainDue(domain, "node", BOUNDS))[0] == "more":
            pass
    assert seen(own_client, "together") == seen(own_client, "alone")
    check_no_leaks(own_client, "alone", "together")
