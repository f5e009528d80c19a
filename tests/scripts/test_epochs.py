"""Message numbers after Redis has lost its last writes: no URI ever means another message."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

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

from restms_cluster.formats import FORMAT, DomainUpgrade
from restms_cluster.names import Kind, Token
from restms_cluster.transitions import (
    DomainConfigure,
    DomainEnter,
    FeedCreate,
    MessageDelete,
    MessagePull,
    MessageRead,
    MessagesRead,
    PipeCreate,
    PipeRead,
)
from tests.leaks import BOUNDS, run
from tests.scripts.conftest import IDLE, Run, explore, joining, posting, secret
from tests.servers import Server, start_server

NUMBERS_A_SECOND = 2048 * 1000


def read(do: Run, pipe: str, number: int) -> str:
    """The word that a reader of that number gets."""
    return str(do(MessageRead("default", pipe, number, 1000, IDLE))[0])


def numbers(do: Run, pipe: str) -> list[int]:
    """The numbers of the messages that a pipe lists."""
    listed = do(PipeRead("default", pipe, 1000, IDLE))[6]
    return [int(entry.partition(b"-")[0]) for entry, _, _ in listed]


def coming(do: Run, pipe: str) -> int:
    """The number that a pipe's description says will be the next."""
    return int(do(PipeRead("default", pipe, 1000, IDLE))[4]) + 1


def enter(do: Run, server: str, rested: str = "") -> bool:
    """A node meets a server; whether a new epoch began."""
    do(DomainUpgrade("default", FORMAT))
    word, begun = do(DomainEnter("default", server, rested, FORMAT))
    assert word == "ok"
    return bool(begun)


def test_a_server_that_changes_moves_the_numbers_and_one_that_does_not_leaves_them(
    do: Run, pipe: Callable[..., str]
) -> None:
    assert enter(do, "one")  # it was used by nodes that knew nothing of this
    a = pipe("a", news="")
    do(posting("news", ("", "", b"first")))
    assert not enter(do, "one")
    assert (numbers(do, a), coming(do, a)) == ([1], 2)
    assert enter(do, "two")
    assert not enter(do, "two")
    floor = coming(do, a)
    assert floor > NUMBERS_A_SECOND
    assert [read(do, a, n) for n in (1, 2, 3, floor - 1, floor, floor + 1)] == [
        "ok",
        "missing",
        "missing",
        "missing",
        "next",
        "missing",
    ]
    do(posting("news", ("", "", b"second"), ("", "", b"third")))
    assert numbers(do, a) == [1, floor, floor + 1]
    assert coming(do, a) == floor + 2


def test_the_first_server_of_a_domain_moves_nothing(client: "redis.Redis[bytes]", do: Run) -> None:
    client.flushall()
    assert not enter(do, "one")
    do(DomainConfigure("default", "", ("default", "", "", "", "", "")))
    assert not enter(do, "one")
    assert enter(do, "two")


def test_a_run_that_ended_in_order_moves_nothing(do: Run, pipe: Callable[..., str]) -> None:
    enter(do, "one")
    a = pipe("a", news="")
    assert not enter(do, "two", rested="one")
    assert coming(do, a) == 1
    assert enter(do, "three", rested="one"), "that was another time"


def test_a_pipe_that_is_made_later_counts_from_one(do: Run, pipe: Callable[..., str]) -> None:
    enter(do, "one")
    a = pipe("a", news="")
    do(posting("news", ("", "", b"x")))
    assert (numbers(do, a), coming(do, a)) == ([1], 2)
    enter(do, "two")
    assert coming(do, a) > NUMBERS_A_SECOND


def test_a_pipe_tells_its_new_asynclet_under_a_new_version(
    do: Run, pipe: Callable[..., str]
) -> None:
    a = pipe("a")
    before = int(do(PipeRead("default", a, 10, IDLE))[3])
    enter(do, "one")
    after = do(PipeRead("default", a, 10, IDLE))
    assert int(after[3]) > before
    assert do(PipeRead("default", a, 10, IDLE)) == after


def test_a_reader_who_had_what_was_lost_goes_on_with_what_comes(
    do: Run, pipe: Callable[..., str]
) -> None:
    a = pipe("a", news="")
    do(posting("news", ("", "", b"kept")))
    enter(do, "two")

    def after(number: int) -> list[object]:
        return do(MessagesRead("default", a, number, 10, 1000, 1000, IDLE))

    assert after(5) == ["next", b"%d" % (coming(do, a) - 1), 0]
    do(posting("news", ("", "", b"new")))
    assert list(after(5)[2][1::2]) == [b"new"]
    # What nobody can have had is no place to go on from.
    assert list(after(coming(do, a))[2][1::2]) == [b"kept", b"new"]


def test_a_lost_message_can_be_acknowledged_with_all_before_it(
    do: Run, pipe: Callable[..., str]
) -> None:
    a = pipe("a", news="")
    do(posting("news", ("", "", b"kept")))
    enter(do, "two")
    do(posting("news", ("", "", b"new")))
    floor = numbers(do, a)[1]
    assert do(MessageDelete("default", a, 7, "", "", IDLE)) == ["ok", 1]
    assert numbers(do, a) == [floor]
    assert do(MessageDelete("default", a, floor + 1, "", "", IDLE)) == ["ok", 0]
    assert numbers(do, a) == [floor], "what has not come yet is left to come"


def test_a_clock_that_was_set_back_moves_the_numbers_all_the_same(
    client: "redis.Redis[bytes]", do: Run, pipe: Callable[..., str]
) -> None:
    a = pipe("a", news="")
    ahead = 2**52
    client.hset("restms:{default}", mapping={"run": "one", "floor": ahead})
    do(posting("news", ("", "", b"x")))
    assert numbers(do, a) == [ahead]
    one, other = (client.dump("restms:{default}") for _ in range(2))
    enter(do, "two")
    two = coming(do, a)
    assert ahead + 1 < two <= ahead + 2**31 + 1
    client.restore("restms:{default}", 0, other or one, replace=True)
    enter(do, "three")
    assert coming(do, a) != two, "two that go on from one state leap apart"


Uri = tuple[str, int]
PIPES = 3
ONDEMAND = "d"


class Histories(RuleBasedStateMachine):
    """One Redis, its replicas that lag, its backups; any of them goes on as the server.

    A history is a state of the data and the run of the server that has it. A fork is a copy
    that goes on as another run. The first may go on beside it: a primary that was cut off,
    with nodes that do not know it yet.
    """

    server: Server

    @initialize()
    def start(self) -> None:
        self.client: redis.Redis[bytes] = self.server.client()
        self.client.flushall()
        self.entered = 0
        self.runs = 0
        self.histories: list[tuple[str, dict[bytes, bytes]]] = []
        self.place = 0
        self.means: dict[Uri, bytes] = {}
        self.told: set[Uri] = set()  # all that clients were told of, messages and asynclets
        self.sent = 0
        self.pipes = 0
        self.histories.append((self.begin(), {}))
        self.do(DomainConfigure("default", "", ("default", "", "", "", "", "")))
        for feed, kind in (("news", "fanout"), ("work", "rotator")):
            self.do(FeedCreate("default", feed, kind, "", "", "", "", 10))
        self.make_pipe("ondemand", ONDEMAND, "work")
        self.create_pipe()
        self.save()

    def do(self, transition: object) -> list[object]:
        return run(self.client, transition)  # type: ignore[arg-type]

    def begin(self) -> str:
        """Enter as another run, at a time of its own: what is assumed of clocks."""
        while (now := self.milliseconds()) <= self.entered:
            time.sleep(0.0002)
        self.entered = now
        self.runs += 1
        enter(self.do, f"run {self.runs}")
        return f"run {self.runs}"

    def milliseconds(self) -> int:
        seconds, micros = self.client.time()
        return seconds * 1000 + micros // 1000

    def make_pipe(self, kind: str, letter: str, feed: str) -> None:
        join, own = Token.new(Kind.JOIN, "default").secret, Token.new(Kind.JOIN, "default").secret
        self.do(PipeCreate("default", secret(letter), "p", own, kind, "", 100, IDLE))
        assert self.do(joining(secret(letter), join, feed))[0] == "ok"

    @precondition(lambda self: self.pipes < PIPES)
    @rule()
    def create_pipe(self) -> None:
        letter = "abc"[self.pipes]  # its secret is its own, in all histories
        self.pipes += 1
        self.make_pipe("", letter, "news")
        assert coming(self.do, secret(letter)) == 1

    @rule(feed=st.sampled_from(["news", "work"]), messages=st.integers(1, 3))
    def publish(self, feed: str, messages: int) -> None:
        posted = []
        for _ in range(messages):
            self.sent += 1
            posted.append(("", "", b"%d" % self.sent))
        assert self.do(posting(feed, *posted))[0] == "ok"

    @rule()
    def take(self) -> None:
        pipe = secret(ONDEMAND)
        self.do(MessagePull("default", pipe, coming(self.do, pipe), 1000, 0, BOUNDS))

    @rule(ahead=st.integers(0, 3), letter=st.sampled_from("abcd"))
    def acknowledge(self, letter: str, ahead: int) -> None:
        pipe = secret(letter)
        known = sorted(number for name, number in self.told if name == pipe)
        if known:
            number = known[-1 - ahead % len(known)]
            held = self.held(letter)
            here = self.exists(pipe) and number < coming(self.do, pipe)
            self.do(MessageDelete("default", pipe, number, "", "", IDLE))
            assert self.held(letter) == [n for n in held if n > number or not here]

    def held(self, letter: str) -> list[int]:
        reply = self.do(PipeRead("default", secret(letter), 1000, IDLE))
        return numbers(self.do, secret(letter)) if reply[0] == "ok" else []

    def save(self) -> None:
        keys = list(self.client.scan_iter(count=1000))
        dumps = [self.client.dump(key) for key in keys]
        data = {key: dump for key, dump in zip(keys, dumps, strict=True) if dump}
        self.histories[self.place] = (self.histories[self.place][0], data)

    def load(self, place: int) -> str:
        self.place = place
        server, data = self.histories[place]
        self.client.flushall()
        for key, dump in data.items():
            self.client.restore(key, 0, dump)
        return server

    @precondition(lambda self: len(self.histories) < 4)
    @rule()
    def fork(self) -> None:
        """A replica is at this point, or a backup is made."""
        self.save()
        self.histories.append(("", self.histories[self.place][1]))

    @precondition(lambda self: len(self.histories) > 1)
    @rule(which=st.integers(0, 3))
    def switch(self, which: int) -> None:
        """Another server goes on: a new one as a new run, one that had been cut off as itself."""
        self.save()
        server = self.load(which % len(self.histories))
        if not server:
            self.histories[self.place] = (self.begin(), self.histories[self.place][1])

    @precondition(lambda self: self.sent > 2)
    @rule()
    def crash(self) -> None:
        """The server loses what it has not kept, and starts anew."""
        self.load(self.place)
        self.histories[self.place] = (self.begin(), self.histories[self.place][1])

    @invariant()
    def no_uri_means_two_messages(self) -> None:
        for letter in "abcd":
            pipe = secret(letter)
            present = self.held(letter)
            for number in present:
                blob = self.do(MessageRead("default", pipe, number, 1000, IDLE))[2]
                assert self.means.setdefault((pipe, number), blob) == blob
                self.told.add((pipe, number))
            following = coming(self.do, pipe) if self.exists(pipe) else 0
            for name, number in self.told:
                if name == pipe and number not in present:
                    expected = "next" if number == following else "missing"
                    assert read(self.do, pipe, number) == expected
                    assert expected == "missing" or (pipe, number) not in self.means
            if following:
                self.told.add((pipe, following))

    def exists(self, pipe: str) -> bool:
        return self.do(PipeRead("default", pipe, 1, IDLE))[0] == "ok"

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with closing(start_server(tmp_path_factory.mktemp("redis"))) as server:
        yield server


def test_in_no_history_does_a_uri_mean_two_messages(own_server: Server) -> None:
    Histories.server = own_server
    explore(Histories, sequences=40, steps=30)
