"""The broker beside a model of a few lines: any sequence of changes must come to the same.

The model keeps, for each pipe, the number of its last message and what it
holds. Order, numbering, counts, sharing of bodies and freeing are compared
after every step, and nothing may be left in the end.
"""

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from restms_cluster.names import Kind, Token
from restms_cluster.scripts import Transition
from restms_cluster.transitions import (
    DomainConfigure,
    DomainSweep,
    FeedCreate,
    FeedDelete,
    JoinDelete,
    MessageDelete,
    MessageRead,
    PipeCreate,
    PipeDelete,
    PipeRead,
)
from restms_cluster.transitions_content import ContentStage
from tests.leaks import BOUNDS, check_keys, check_no_leaks, run
from tests.scripts.conftest import Posted, explore, joining, posting
from tests.servers import Server, start_server

IDLE = 60_000
ROOM = 8
PIPES = 4
FEEDS = ("news", "sport")
ADDRESSES = ("", "a")


def secret(kind: Kind) -> str:
    return Token.new(kind, "default").secret


class BrokerMachine(RuleBasedStateMachine):
    """Random changes, on the scripts and on the model."""

    server: Server
    pipes = Bundle("pipes")
    joins = Bundle("joins")

    @initialize()
    def start(self) -> None:
        self.client: redis.Redis[bytes] = self.server.client()
        self.client.flushall()
        self.do(DomainConfigure("default", "", ("default", "", "", "", "", "")))
        self.feeds: set[str] = set()
        for feed in FEEDS:
            self.create_feed(feed)
        self.last: dict[str, int] = {}
        self.held: dict[str, dict[int, bytes]] = {}
        self.wanted: dict[str, tuple[str, str, str]] = {}  # join: pipe, feed, address
        self.sent = 0

    def do(self, transition: Transition) -> list[object]:
        return run(self.client, transition)

    @rule(feed=st.sampled_from(FEEDS))
    def create_feed(self, feed: str) -> None:
        expected = "exists" if feed in self.feeds else "ok"
        assert self.do(FeedCreate("default", feed, "", "", "", "", "", 10))[0] == expected
        self.feeds.add(feed)

    # Deletions are drawn less often than the rest, or there would be little to delete.
    @precondition(lambda self: self.sent % 5 == 4)
    @rule(feed=st.sampled_from(FEEDS))
    def delete_feed(self, feed: str) -> None:
        expected = "ok" if feed in self.feeds else "missing"
        assert self.do(FeedDelete("default", feed, "", "", BOUNDS)) == [expected]
        self.feeds.discard(feed)
        self.wanted = {j: w for j, w in self.wanted.items() if w[1] != feed}

    @precondition(lambda self: len(self.held) < PIPES)
    @rule(target=pipes)
    def create_pipe(self) -> str:
        pipe = secret(Kind.PIPE)
        self.do(PipeCreate("default", pipe, f"p{pipe}", secret(Kind.JOIN), "", "", 100, IDLE))
        self.last[pipe], self.held[pipe] = 0, {}
        if FEEDS[0] in self.feeds:  # or few messages would find a reader
            self.create_join(pipe, FEEDS[0], ADDRESSES[0])
        return pipe

    @precondition(lambda self: self.sent % 5 == 3)
    @rule(pipe=consumes(pipes))
    def delete_pipe(self, pipe: str) -> None:
        assert self.do(PipeDelete("default", pipe, "", "", BOUNDS)) == ["ok"]
        del self.last[pipe], self.held[pipe]
        self.wanted = {j: w for j, w in self.wanted.items() if w[0] != pipe}

    @rule(target=joins, pipe=pipes, feed=st.sampled_from(FEEDS), address=st.sampled_from(ADDRESSES))
    def create_join(self, pipe: str, feed: str, address: str) -> object:
        join = secret(Kind.JOIN)
        answer = self.do(joining(pipe, join, feed, address))
        if feed not in self.feeds:
            assert answer == ["no_feed"]
            return multiple()
        if (pipe, feed, address) in self.wanted.values():
            assert answer[0] == "exists"
            return multiple()
        assert answer[0] == "ok"
        self.wanted[join] = (pipe, feed, address)
        return join

    @precondition(lambda self: self.sent % 5 == 2)
    @rule(join=consumes(joins))
    def delete_join(self, join: str) -> None:
        expected = "ok" if join in self.wanted else "missing"
        assert self.do(JoinDelete("default", join, "", "", IDLE, BOUNDS)) == [expected]
        self.wanted.pop(join, None)

    @rule(
        feed=st.sampled_from((FEEDS[0], *FEEDS)),
        messages=st.lists(
            st.tuples(
                st.sampled_from(ADDRESSES), st.sampled_from([3, 5000]), st.sampled_from([0, 1, 3])
            ),
            min_size=1,
            max_size=5,
        ),
    )
    def publish(self, feed: str, messages: list[tuple[str, int, int]]) -> None:
        posted: list[Posted] = []
        held = {pipe: dict(messages) for pipe, messages in self.held.items()}
        last = dict(self.last)
        counts, refused = [], False
        for address, size, chunks in messages:
            self.sent += 1
            blob = b"%d " % self.sent + b"x" * size
            content = secret(Kind.CONTENT) if chunks else ""
            if chunks:
                data = (b"abc",) * chunks
                staged = self.do(
                    ContentStage("default", feed, content, "a/b", 3 * chunks, IDLE, "", 0, 0, data)
                )
                assert staged == (["ok"] if feed in self.feeds else ["missing"])
            posted.append((address, "", blob, content))
            readers = [p for p, f, a in self.wanted.values() if (f, a) == (feed, address)]
            takers = [pipe for pipe in readers if len(held[pipe]) < ROOM]
            refused = refused or (bool(readers) and not takers)
            for pipe in takers:
                last[pipe] += 1
                held[pipe][last[pipe]] = blob
            counts += (len(takers), len(readers) - len(takers))
        answer = self.do(posting(feed, *posted, most=ROOM))
        if feed not in self.feeds:
            assert answer == ["missing"]
        elif refused:
            assert answer == ["full"]
        else:
            assert answer == ["ok", 1, *counts]
            self.held, self.last = held, last

    @rule(pipe=pipes, ahead=st.integers(-1, 4))
    def acknowledge(self, pipe: str, ahead: int) -> None:
        number = max(1, min(self.held[pipe], default=self.last[pipe]) + ahead)
        gone = sum(n <= number for n in self.held[pipe]) if number <= self.last[pipe] else 0
        assert self.do(MessageDelete("default", pipe, number, "", "", IDLE)) == ["ok", gone]
        if number <= self.last[pipe]:
            self.held[pipe] = {n: m for n, m in self.held[pipe].items() if n > number}

    @rule()
    def sweep(self) -> None:
        assert self.do(DomainSweep("default", "model", 1000, 10, IDLE, BOUNDS))[1] == 0

    @invariant()
    def pipes_hold_what_the_model_holds(self) -> None:
        for pipe, held in self.held.items():
            for number in range(max(1, self.last[pipe] - ROOM), self.last[pipe] + 3):
                answer = self.do(MessageRead("default", pipe, number, 1000, IDLE))
                if number in held:
                    assert answer[0] == "ok"
                    assert answer[2] == held[number]
                else:
                    assert answer[0] == ("next" if number == self.last[pipe] + 1 else "missing")
            listed = self.do(PipeRead("default", pipe, 100, IDLE))
            assert [int(entry[0].partition(b"-")[0]) for entry in listed[6]] == sorted(held)
            assert len(listed[5]) == 1 + sum(p == pipe for p, _, _ in self.wanted.values())

    @invariant()
    def bodies_are_held_by_someone(self) -> None:
        with self.client.pipeline(transaction=False) as asked:
            for name in self.client.scan_iter("*:body:*", count=1000):
                asked.hget(name, "n")
            references = sum(int(count or 0) for count in asked.execute())
            for pipe in self.held:
                asked.xrange(f"restms:{{default}}:pipe:{pipe}:messages")
            held = sum(b"b" in fields for entries in asked.execute() for _, fields in entries)
        assert references == held

    def teardown(self) -> None:
        if hasattr(self, "client"):
            check_keys(self.client)
            check_no_leaks(self.client)
            self.client.close()


@pytest.fixture(scope="module")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with closing(start_server(tmp_path_factory.mktemp("redis"))) as server:
        yield server


def test_any_sequence_of_changes_comes_to_the_same_as_in_the_model(model_server: Server) -> None:
    BrokerMachine.server = model_server
    explore(BrokerMachine, sequences=100, steps=50)
