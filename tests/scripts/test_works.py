"""Works: large fan-outs are accepted at once and handed out in chunks, exactly once and in order.

The constants of the scripts are made small here, so that a few pipes make many
chunks. Whatever else happens between two chunks, every pipe gets what a
broker without works would have given it, in the same order.
"""

import itertools
import re
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from restms_cluster.scripts import Transition
from restms_cluster.transitions import (
    DomainConfigure,
    DomainDue,
    DomainSweep,
    FeedCreate,
    FeedDelete,
    JoinDelete,
    MessageDelete,
    PipeCreate,
    PipeDelete,
    PipeRead,
)
from tests.leaks import BOUNDS, LIBRARY, check_keys, check_no_leaks, run_text
from tests.scripts.conftest import IDLE, explore, joining, listed, posting, stored
from tests.servers import Server, start_server

SMALL = {"LARGE": 2, "WORK_PIPES": 2, "DIRECT": 40, "CHUNK": 2}
PIPES, EAGER = 7, 4
PLACES = {"all": [""], "topics": ["x.#", "*.y"]}
FEEDS = {"all": "fanout", "topics": "topic", "some": "direct", "work": "rotator"}


def small_run(client: "redis.Redis[bytes]", transition: Transition) -> list[Any]:
    """Run a script with small constants."""
    return run_text(client, small_text(transition.script()), transition)


@cache
def small_text(script: str) -> str:
    text = LIBRARY.text(script)
    for name, value in SMALL.items():
        text = re.sub(rf"^local {name} = \d+", f"local {name} = {value}", text, flags=re.MULTILINE)
    return text


@pytest.fixture(scope="module")
def works_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with closing(start_server(tmp_path_factory.mktemp("redis"))) as server:
        yield server


numbers = st.integers(0, PIPES - 1)


def pipe_name(number: int) -> str:
    return f"{number + 1:032x}"


def join_name(pipe: int, feed: str, address: str) -> str:
    return (f"{pipe + 1:x}" + f"{feed} {address}".encode().hex()).ljust(32, "0")[:32]


class Bench:
    """A broker with small works, and pipes joined to feeds of all kinds."""

    def __init__(self, client: "redis.Redis[bytes]", eager: int = PIPES) -> None:
        """The first `eager` pipes are joined to all feeds, the others to one only."""
        self.client = client
        client.flushall()
        self.do(DomainConfigure("default", "", ("default", "", "", "", "", "")))
        for feed, kind in FEEDS.items():
            self.do(FeedCreate("default", feed, kind, "", "", "", "", 10))
        self.names = itertools.count()
        for number in range(PIPES):
            self.create(number, eager=number < eager)

    def do(self, transition: Transition) -> list[Any]:
        return small_run(self.client, transition)

    def create(self, number: int, *, eager: bool = True) -> None:
        pipe = pipe_name(number)
        self.do(PipeCreate("default", pipe, f"p{pipe}", pipe, "", "", 100, IDLE))
        self.join(number, "some", "even" if number % 2 == 0 else "odd")
        if eager:
            self.join(number, "all", "")
            self.join(number, "topics", "x.#")
            self.join(number, "topics", "*.y")

    def join(self, number: int, feed: str, address: str) -> None:
        assert self.do(joining(pipe_name(number), join_name(number, feed, address), feed, address))[
            0
        ] in ("ok", "exists")

    def post(self, feed: str, *addresses: str, most: int = 100) -> tuple[list[Any], list[str]]:
        names = [str(next(self.names)) for _ in addresses]
        messages = [
            (address, name, stored(address, name))
            for address, name in zip(addresses, names, strict=True)
        ]
        return self.do(posting(feed, *messages, most=most)), names

    def due(self) -> str:
        return str(self.do(DomainDue("default", "node", BOUNDS))[0])

    def finish(self) -> None:
        while self.due() == "more":
            pass

    def held(self, number: int) -> list[str]:
        return [message_id for _, message_id in listed(self.do, pipe_name(number))]

    def check(self) -> None:
        check_keys(self.client)
        assert not self.client.exists("restms:{default}:works")
        assert not self.client.keys("*:took")


@pytest.fixture
def bench(works_server: Server) -> Iterator[Bench]:
    with closing(works_server.client()) as client:
        bench = Bench(client)
        yield bench
        check_no_leaks(client)


def test_a_large_fan_out_is_accepted_whole_and_handed_out_in_chunks(bench: Bench) -> None:
    answer, (name,) = bench.post("all", "")
    assert answer == ["ok", 0, PIPES, 0]
    assert [bench.held(n) for n in range(PIPES)] == [[]] * PIPES
    assert bench.due() == "more"
    served = [n for n in range(PIPES) if bench.held(n)]
    assert len(served) == SMALL["WORK_PIPES"]
    bench.finish()
    assert [bench.held(n) for n in range(PIPES)] == [[name]] * PIPES
    (body,) = bench.client.keys("*:body:*")
    assert int(bench.client.hget(body, "n")) == PIPES


def test_a_pipe_gets_one_copy_although_many_patterns_match(bench: Bench) -> None:
    _, (name,) = bench.post("topics", "x.y")
    bench.finish()
    assert [bench.held(n) for n in range(PIPES)] == [[name]] * PIPES


def test_a_newer_message_to_one_pipe_waits_for_none_and_overtakes_none(bench: Bench) -> None:
    _, (first,) = bench.post("all", "")
    _, (second,) = bench.post("topics", "x.y")
    _, (direct,) = bench.post("default", f"p{pipe_name(5)}")
    assert bench.held(5) == [first, second, direct]  # at once
    assert bench.held(4) == []
    bench.finish()
    assert bench.held(5) == [first, second, direct]
    assert bench.held(4) == [first, second]


def test_who_joins_later_gets_nothing_of_before_and_who_leaves_gets_it_first(
    bench: Bench,
) -> None:
    _, (name,) = bench.post("all", "")
    bench.create(PIPES)
    bench.do(JoinDelete("default", join_name(6, "all", ""), "", "", IDLE, BOUNDS))
    assert bench.held(6) == [name]
    _, (direct,) = bench.post("default", f"p{pipe_name(PIPES)}")
    assert bench.held(PIPES) == [direct]
    bench.finish()
    assert bench.held(PIPES) == [direct]
    assert [bench.held(n) for n in range(PIPES)] == [[name]] * PIPES


def test_a_pipe_that_is_deleted_meanwhile_is_no_obstacle(bench: Bench) -> None:
    _, (name,) = bench.post("all", "")
    bench.due()
    for number in (0, 3, 6):
        bench.do(PipeDelete("default", pipe_name(number), "", "", BOUNDS))
    bench.finish()
    assert [bench.held(n) for n in (1, 2, 4, 5)] == [[name]] * 4


def test_a_feed_that_is_deleted_meanwhile_still_delivers_what_it_accepted(bench: Bench) -> None:
    _, (name,) = bench.post("all", "")
    bench.do(FeedDelete("default", "all", "", "", BOUNDS))
    assert bench.do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[0] == "ok"
    bench.finish()
    assert [bench.held(n) for n in range(PIPES)] == [[name]] * PIPES
    while bench.do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[0] == "more":
        pass


def test_what_works_do_not_use_is_freed_meanwhile(bench: Bench) -> None:
    bench.post("some", *["even"] * 5)
    bench.finish()
    bench.do(PipeDelete("default", pipe_name(0), "", "", BOUNDS))
    bench.post("all", "")
    bench.do(FeedDelete("default", "all", "", "", BOUNDS))
    assert bench.client.scard("restms:{default}:trash") == 2
    while bench.do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[0] == "more":
        pass
    assert bench.client.llen("restms:{default}:works") == 1
    assert bench.client.scard("restms:{default}:trash") == 1  # the feed, whose joins are needed
    bench.finish()
    while bench.do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[0] == "more":
        pass


def test_full_pipes_are_passed_over(bench: Bench) -> None:
    bench.post("default", f"p{pipe_name(2)}", most=1)
    bench.post("all", "", most=1)
    while bench.do(DomainDue("default", "node", "1 100 5"))[0] == "more":
        pass
    assert [len(bench.held(n)) for n in range(PIPES)] == [1] * PIPES
    # It is gone, and the operator is told.
    assert bench.do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[2] == 1
    assert bench.do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[2] == 0


def test_a_dead_letter_for_many_pipes_overflows_once(bench: Bench) -> None:
    bench.do(FeedCreate("default", "source", "fanout", "", "", "all", "", 10))
    bench.join(0, "source", "")
    bench.post("default", f"p{pipe_name(0)}", most=1)
    answer, (name,) = bench.post("source", "", most=1)
    assert answer == ["ok", 0, 0, 1]
    for _ in range(20):
        if bench.do(DomainDue("default", "node", "1 100 5"))[0] != "more":
            break
    else:
        raise AssertionError("it never ends")
    assert [bench.held(n) for n in range(1, PIPES)] == [[name]] * (PIPES - 1)
    assert bench.do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[2] == 1


def test_a_batch_with_a_large_fan_out_keeps_its_order(bench: Bench) -> None:
    _, names = bench.post("topics", "z.y", "x.y", "x", "x.y.z")
    bench.finish()
    assert [bench.held(n) for n in range(PIPES)] == [names] * PIPES


def test_one_node_does_the_works_and_another_takes_over_when_it_dies(bench: Bench) -> None:
    bench.post("all", "")
    assert bench.due() == "more"
    assert bench.do(DomainDue("default", "other", BOUNDS))[0] == "ok"
    served = sum(len(bench.held(n)) for n in range(PIPES))
    assert served == SMALL["WORK_PIPES"]
    bench.client.delete("restms:{default}:driver")  # it has expired
    while bench.do(DomainDue("default", "other", BOUNDS))[0] == "more":
        pass
    assert sum(len(bench.held(n)) for n in range(PIPES)) == PIPES


class WorksMachine(RuleBasedStateMachine):
    """Anything that may happen while works go on, and what a broker without works would do."""

    server: Server

    @initialize()
    def start(self) -> None:
        self.client: redis.Redis[bytes] = self.server.client()
        self.bench = Bench(self.client, EAGER)
        self.expected: dict[int, list[str]] = {number: [] for number in range(PIPES)}
        self.gone: dict[int, list[str]] = {number: [] for number in range(PIPES)}
        self.joined = {(n, feed) for n in range(EAGER) for feed in ("all", "topics")}

    def post(self, feed: str, *addresses: str) -> None:
        answer, names = self.bench.post(feed, *addresses)
        assert answer[0] == "ok"
        for address, name in zip(addresses, names, strict=True):
            for number, messages in self.expected.items():
                if self.wants(number, feed, address):
                    messages.append(name)

    def wants(self, number: int, feed: str, address: str) -> bool:
        if feed == "default":
            return address == f"p{pipe_name(number)}"
        if feed == "some":
            return address == ("even" if number % 2 == 0 else "odd")
        return (number, feed) in self.joined and (feed == "all" or address != "q")

    @rule()
    def post_to_all(self) -> None:
        self.post("all", "")

    @rule(addresses=st.lists(st.sampled_from(["x", "x.y", "z.y", "q"]), min_size=1, max_size=4))
    def post_to_topics(self, addresses: list[str]) -> None:
        self.post("topics", *addresses)

    @rule(addresses=st.lists(st.sampled_from(["even", "odd"]), min_size=1, max_size=4))
    def post_to_some(self, addresses: list[str]) -> None:
        self.post("some", *addresses)

    @rule(readers=st.lists(numbers, min_size=1, max_size=4))
    def post_to_pipes(self, readers: list[int]) -> None:
        self.post("default", *[f"p{pipe_name(number)}" for number in readers])

    @rule()
    def hand_out_a_chunk(self) -> None:
        self.bench.due()

    @rule(number=numbers)
    def acknowledge(self, number: int) -> None:
        pipe = pipe_name(number)
        listing = self.bench.do(PipeRead("default", pipe, 1, IDLE))
        if number in self.expected and listing[6]:
            [(_, name)] = listed(self.bench.do, pipe, 1)
            oldest = int(listing[6][0][0].partition(b"-")[0])
            self.bench.do(MessageDelete("default", pipe, oldest, "", "", IDLE))
            self.gone[number].append(name)

    @rule(number=numbers, feed=st.sampled_from(["all", "topics"]))
    def leave(self, number: int, feed: str) -> None:
        for address in PLACES[feed]:
            join = join_name(number, feed, address)
            self.bench.do(JoinDelete("default", join, "", "", IDLE, BOUNDS))
        self.joined.discard((number, feed))

    @rule(number=numbers, feed=st.sampled_from(["all", "topics"]))
    def join(self, number: int, feed: str) -> None:
        if number in self.expected:
            for address in PLACES[feed]:
                self.bench.join(number, feed, address)
            self.joined.add((number, feed))

    # Drawn less often than the rest, or few pipes would be left.
    @precondition(lambda self: sum(map(len, self.expected.values())) % 5 == 4)
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        self.bench.do(PipeDelete("default", pipe_name(number), "", "", BOUNDS))
        self.expected.pop(number, None)
        self.joined = {(n, feed) for n, feed in self.joined if n != number}

    @invariant()
    def nothing_is_out_of_order(self) -> None:
        for number, messages in self.expected.items():
            got = self.gone[number] + self.bench.held(number)
            assert messages[: len(got)] == got

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.finish()
            for number, messages in self.expected.items():
                assert self.gone[number] + self.bench.held(number) == messages
            self.bench.check()
            check_no_leaks(self.client)
            self.client.close()


def test_any_sequence_comes_to_what_a_broker_without_works_would_do(
    works_server: Server,
) -> None:
    WorksMachine.server = works_server
    explore(WorksMachine, sequences=100, steps=30)
