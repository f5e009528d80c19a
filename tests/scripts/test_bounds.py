"""One client cannot stall Redis: what a call costs is bounded, whatever was joined and posted.

What is counted here is work, such as nodes of an index that are asked for, not time.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import redis

from restms_cluster import matching
from restms_cluster.model import Header
from restms_cluster.scripts import Transition
from restms_cluster.transitions import (
    DomainDue,
    DomainSweep,
    FeedCreate,
    JoinDelete,
    MessageDelete,
    PipeCreate,
)
from tests.leaks import BOUNDS, LIBRARY, told
from tests.scripts.conftest import IDLE, Run, joining, listed, posting

NODES = int(re.search(r"^local NODES = (\d+)", LIBRARY.text("message_publish"), re.MULTILINE)[1])


Feeds = Callable[..., str]
Pipes = Callable[..., list[str]]
Client: TypeAlias = "redis.Redis[bytes]"


def number(count: int, kind: str = "") -> str:
    return f"{kind}{count:x}".rjust(32, "0")


@pytest.fixture
def feed(do: Run) -> Feeds:
    def make(name: str, kind: str, dead_letter: str = "") -> str:
        assert do(FeedCreate("default", name, kind, "", "", dead_letter, "", 10))[0] == "ok"
        return name

    return make


@pytest.fixture
def pipes(do: Run) -> Pipes:
    def make(count: int, kind: str = "") -> list[str]:
        names = [number(n, "a") for n in range(count)]
        for name in names:
            do(PipeCreate("default", name, f"p{name}", number(0, name[-8:]), kind, "", 1000, IDLE))
        return names

    return make


def held(do: Run, pipe: str) -> list[str]:
    return [message_id for _, message_id in listed(do, pipe)]


def asked(client: Client, transition: Transition) -> tuple[int, list[Any]]:
    """Run a script; how many nodes of a tree it asked for, and its answer."""
    text = LIBRARY.text(transition.script())
    counting = "nodes_asked, nodes_in_all = nodes_asked + #nodes, nodes_in_all + #nodes"
    assert counting in text
    text = text.replace(
        counting, f"{counting}\n  redis.call('INCRBY', KEYS[1] .. ':asked', #nodes)", 1
    )
    answer = told(transition, client.eval(text, *transition.arguments()))
    return int(client.getdel("restms:{default}:asked") or 0), answer


def test_a_message_that_many_patterns_begin_like_is_refused_in_time(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "topic")
    (pipe,) = pipes(1)
    for n in range(100):
        # All of them fit all beginnings of an address of this one word.
        words = ["#" if n >> bit & 1 else "a" for bit in range(7)]
        pattern = ".".join(
            [word for pair in zip(words, "aaaaaaa", strict=True) for word in pair] * 4
        )
        assert do(joining(pipe, number(n, "b"), "news", pattern))[0] == "ok"
    nodes, answer = asked(client, posting("news", (".".join("a" * 64), "1", b"m")))
    assert answer == ["too_dear"]
    assert nodes <= NODES + 256
    assert held(do, pipe) == []
    assert do(posting("news", ("a.b", "2", b"m")))[0] == "ok"  # others are matched as ever


def test_an_address_has_no_more_words_than_a_pattern(do: Run, feed: Feeds, pipes: Pipes) -> None:
    feed("news", "topic")
    feed("exact", "direct")
    (pipe,) = pipes(1)
    do(joining(pipe, number(1, "b"), "news", "#"))
    long = ".".join("a" * 65)
    assert do(posting("news", ("", "1", b"m"), (long, "2", b"m"))) == ["bad_address"]
    assert do(posting("news", (long, "2", b"m", "", "", "- 0 +60000"))) == ["bad_address"]
    assert do(posting("news", (".".join("a" * 64), "3", b"m")))[0] == "ok"
    assert do(posting("exact", (long, "4", b"m")))[0] == "ok"
    assert held(do, pipe) == ["3"]


def test_a_message_that_makes_very_many_paths_of_headers_is_refused_in_time(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "headers")
    (pipe,) = pipes(1)
    headers = [Header(f"h{n}", "x") for n in range(256)]
    for n in range(150):
        wanted = matching.wanted(headers[n : n + 32])
        assert do(joining(pipe, number(n, "b"), "news", match=wanted))[0] == "ok"
    message = ("", "1", b"m", "", matching.carried(headers))
    nodes, answer = asked(client, posting("news", message))
    assert answer == ["too_dear"]
    assert nodes <= NODES + 256
    few = ("", "2", b"m", "", matching.carried(headers[:32]))
    assert do(posting("news", few))[0] == "ok"
    assert held(do, pipe) == ["2"]


def test_a_request_is_matched_within_a_bound_of_its_own(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "topic")
    (pipe,) = pipes(1)
    for n, words in enumerate(itertools.product("a*", repeat=7)):
        do(joining(pipe, number(n, "b"), "news", ".".join(words)))
    messages = [(f"a.a.a.a.a.a.a.{n}", str(n), b"m") for n in range(1000)]
    assert do(posting("news", *messages)) == ["too_dear"]
    assert do(posting("news", *messages[:100]))[0] == "ok"


def test_delayed_messages_are_not_lost_because_others_were_dear(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "topic")
    (pipe,) = pipes(1)
    for n, words in enumerate(itertools.product("a*", repeat=7)):
        do(joining(pipe, number(n, "b"), "news", ".".join(words)))
    do(joining(pipe, number(0, "c"), "news", "#.end"))
    # Each asks for a few hundred nodes, all together for more than a call may.
    for first in range(0, 1000, 100):
        messages = [
            (f"a.a.a.a.a.a.a.{first + n}.end", str(first + n), b"m", "", "", "- 0 +1")
            for n in range(100)
        ]
        assert do(posting("news", *messages, queue=2000))[0] == "ok"
    while client.exists("restms:{default}:delayed"):
        do(DomainDue("default", "node", "2000 2000 5"))
    assert sorted(held(do, pipe), key=int) == [str(n) for n in range(1000)]


def test_a_delayed_message_that_cannot_be_matched_is_a_dead_letter(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("dead", "rotator")
    feed("news", "headers", dead_letter="dead")
    (pipe,) = pipes(1)
    headers = [Header(f"h{n}", "x") for n in range(256)]
    for n in range(150):
        do(joining(pipe, number(n, "b"), "news", match=matching.wanted(headers[n : n + 32])))
    do(posting("news", ("", "1", b"m", "", matching.carried(headers), "- 0 +1")))
    while client.zcard("restms:{default}:index:3:delayed"):
        do(DomainDue("default", "node", BOUNDS))
    assert held(do, pipe) == []
    do(joining(pipe, number(0, "c"), "dead"))
    assert held(do, pipe) == ["1"]


def test_a_pipe_counts_once_however_many_of_its_joins_match(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "topic")
    (pipe,) = pipes(1)
    for n, words in enumerate(itertools.product("a*", repeat=9)):
        do(joining(pipe, number(n, "b"), "news", ".".join(words)))
    assert do(posting("news", (".".join("a" * 9), "1", b"m")))[0] == "ok"
    assert not client.exists("restms:{default}:works")  # it was no large fan-out
    assert held(do, pipe) == ["1"]


def test_a_work_keeps_those_places_only_that_it_needs(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "topic")
    first, *others = pipes(501)
    for n, words in enumerate(itertools.product("a*", repeat=8)):
        do(joining(first, number(n, "b"), "news", ".".join(words)))
    for n, pipe in enumerate(others):
        do(joining(pipe, number(n, "c"), "news", "a.#"))
    assert do(posting("news", (".".join("a" * 8), "1", b"m")))[0] == "ok"
    (work,) = [key for key in client.keys("*:work:*") if b":took" not in key]
    assert len(client.hget(work, "plan")) < 1000
    while do(DomainDue("default", "node", BOUNDS))[0] == "more":
        pass
    assert [held(do, pipe) for pipe in (first, *others)] == [["1"]] * 501


# Works that owe


def owing(client: Client, transition: Transition, owed: int) -> list[Any]:
    """Run a script that looks at so many works for what they owe."""
    text = LIBRARY.text(transition.script())
    text = re.sub(r"(?m)^local WORKS_OWING = \d+", f"local WORKS_OWING = {owed}", text)
    text = re.sub(r"(?m)^local LARGE = \d+", "local LARGE = 1", text)
    return told(transition, client.eval(text, *transition.arguments()))


def test_a_join_s_end_pays_as_far_as_there_is_room(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "fanout")
    one, two = pipes(2)
    for n, pipe in enumerate((one, two)):
        do(joining(pipe, number(n, "b"), "news"))
    for name in "123":
        assert owing(client, posting("news", ("", name, b"m"), most=2), 300)[0] == "ok"
    leave = JoinDelete("default", number(0, "b"), "", "", IDLE, "2 100 5")
    assert owing(client, leave, 2) == ["busy"]  # nothing is done, and it may be asked again
    assert held(do, one) == []
    assert owing(client, leave, 300) == ["ok"]
    assert held(do, one) == ["1", "2"]
    while do(DomainDue("default", "node", "2 100 5"))[0] == "more":
        pass
    assert (held(do, one), held(do, two)) == (["1", "2"], ["1", "2"])
    assert do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[2] == 2


def test_a_rotator_s_messages_wait_while_too_many_works_may_owe(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    feed("news", "fanout")
    feed("work", "rotator")
    one, two = pipes(2)
    for n, pipe in enumerate((one, two)):
        do(joining(pipe, number(n, "b"), "news"))
    do(joining(one, number(0, "c"), "work"))
    for name in "123":
        owing(client, posting("news", ("", name, b"m")), 300)
    owing(client, posting("work", ("", "4", b"m")), 2)
    assert held(do, one) == []
    while do(DomainDue("default", "node", BOUNDS))[0] == "more":
        pass
    assert held(do, one) == ["1", "2", "3", "4"]


# Queues


def test_queues_are_handed_out_within_a_bound_for_all_of_them_together(
    do: Run,
    feed: Feeds,
    pipes: Pipes,
    client: Client,
) -> None:
    names = [feed(f"work{n}", "rotator") for n in range(4)]
    (pipe,) = pipes(1)
    for name in names:
        do(posting(name, *[("", "1", b"m")] * 400, queue=1000))
    small = re.compile(r"(?m)^local DISPATCHED = \d+")

    def due(transition: Transition) -> list[Any]:
        text, count = small.subn("local DISPATCHED = 10", LIBRARY.text(transition.script()))
        assert count == 1
        return told(transition, client.eval(text, *transition.arguments()))

    for n, name in enumerate(names):
        due(joining(pipe, number(n, "b"), name, bounds="10000 10000 5"))
    calls = 0
    before = len(held(do, pipe))
    while due(DomainDue("default", "node", "10000 10000 5"))[0] == "more":
        now = client.xlen(f"restms:{{default}}:pipe:{pipe}:messages")
        assert now - before <= 10
        before, calls = now, calls + 1
    assert client.xlen(f"restms:{{default}}:pipe:{pipe}:messages") == 1600
    assert calls > 100


def test_a_pipe_with_room_is_found_among_many_full_ones(do: Run, feed: Feeds, pipes: Pipes) -> None:
    feed("work", "rotator")
    readers = pipes(300)
    for n, pipe in enumerate(readers):
        do(joining(pipe, number(n, "b"), "work"))
    do(posting("work", *[("", str(n), b"m") for n in range(300)], most=1, queue=1000))
    do(MessageDelete("default", readers[250], 1, "", "", IDLE))
    do(posting("work", ("", "last", b"m"), most=1))
    assert held(do, readers[250]) == ["last"]
