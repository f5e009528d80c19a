"""Rotators beside what must hold of them, over any sequence of what readers and writers do.

Each message is in one place only: acknowledged, in a pipe, or in the queue.
Nothing waits while somebody could be given it. And when all readers have gone,
whoever comes last gets all that is left, the urgent first, then in the order of
posting, however often it went back and forth.
"""

from collections.abc import Iterator
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

from restms_cluster.transitions import (
    DomainConfigure,
    DomainDue,
    FeedCreate,
    JoinDelete,
    MessageDelete,
    MessagePull,
    MessageRead,
    PipeCreate,
    PipeDelete,
    PipeLeave,
    PipeRead,
)
from tests.leaks import check_keys, check_no_leaks
from tests.scripts.conftest import IDLE, explore, joining, listed, posting
from tests.scripts.test_works import small_run
from tests.servers import Server, start_server

ROOM, QUEUE = 3, 1000
BOUNDS = f"{ROOM} {QUEUE} 5"
MOST_PIPES = 4
CALLED = "restms:{default}:index:2:called"


class QueueMachine(RuleBasedStateMachine):
    """Writers, plain and ondemand readers, and their deaths."""

    server: Server

    @initialize()
    def start(self) -> None:
        self.client: redis.Redis[bytes] = self.server.client()
        self.client.flushall()
        self.do(DomainConfigure("default", "", ("default", "", "", "", "", "")))
        self.do(FeedCreate("default", "work", "rotator", "", "", "", "", 10))
        self.posted: list[tuple[int, str]] = []  # (how far back, name), in order
        self.done: list[str] = []
        self.pipes: dict[str, str] = {}  # pipe: its type
        self.joined: set[str] = set()
        self.made = 0

    def do(self, transition: object) -> list:
        return small_run(self.client, transition)

    @rule(priorities=st.lists(st.sampled_from([0, 0, 0, 4, 9]), min_size=1, max_size=5))
    def post(self, priorities: list[int]) -> None:
        messages = []
        for priority in priorities:
            name = str(len(self.posted))
            self.posted.append((9 - priority, name))
            messages.append(("", name, name.encode(), "", "", f"- {priority} -"))
        answer = self.do(posting("work", *messages, most=ROOM, queue=QUEUE))
        assert answer == ["ok", 0, *[1, 0] * len(messages)]

    @precondition(lambda self: len(self.pipes) < MOST_PIPES)
    @rule(kind=st.sampled_from(["", "ondemand"]))
    def create_pipe(self, kind: str) -> None:
        self.made += 1
        pipe = f"{self.made:032x}"
        self.do(PipeCreate("default", pipe, f"p{pipe}", pipe, kind, "", 100, IDLE))
        join = joining(pipe, self.join_of(pipe), "work", bounds=BOUNDS)
        assert self.do(join)[0] == "ok"
        self.pipes[pipe] = kind
        self.joined.add(pipe)

    def join_of(self, pipe: str) -> str:
        return f"f{pipe[1:]}"

    @precondition(lambda self: len(self.pipes) > 1)
    @rule(data=st.data())
    def delete_pipe(self, data: st.DataObject) -> None:
        pipe = data.draw(st.sampled_from(sorted(self.pipes)))
        self.do(PipeDelete("default", pipe, "", "", BOUNDS))
        del self.pipes[pipe]
        self.joined.discard(pipe)

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        pipe = data.draw(st.sampled_from(sorted(self.joined)))
        self.do(JoinDelete("default", self.join_of(pipe), "", "", IDLE, BOUNDS))
        self.joined.discard(pipe)

    @precondition(lambda self: self.pipes)
    @rule(data=st.data(), wait=st.booleans())
    def read_next(self, data: st.DataObject, wait: bool) -> None:
        pipe = data.draw(st.sampled_from(sorted(self.pipes)))
        number = int(self.do(PipeRead("default", pipe, 100, IDLE))[4]) + 1
        held = self.held(pipe)
        queued = self.queued()
        answer = self.do(MessageRead("default", pipe, number, 100, IDLE))
        if self.pipes[pipe] != "ondemand" or held:
            assert answer == ["next", 0]
            return
        assert answer == ["next", 1]
        answer = self.do(MessagePull("default", pipe, number, 100, int(wait), BOUNDS))
        if queued and pipe in self.joined and not self.client.exists("restms:{default}:returning"):
            assert (answer[0], answer[2].decode()) == ("ok", queued[0])
        else:
            assert answer == ["next", int(wait)]

    @precondition(lambda self: self.pipes)
    @rule(data=st.data())
    def stop_waiting(self, data: st.DataObject) -> None:
        self.do(PipeLeave("default", data.draw(st.sampled_from(sorted(self.pipes))), BOUNDS))

    @precondition(lambda self: self.pipes)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        pipe = data.draw(st.sampled_from(sorted(self.pipes)))
        entries = self.do(PipeRead("default", pipe, 100, IDLE))[6]
        if entries:
            number = int(entries[0][0].partition(b"-")[0])
            self.do(MessageDelete("default", pipe, number, "", "", IDLE))
            self.done.append(entries[0][2].decode())

    @rule()
    def do_what_is_due(self) -> None:
        self.do(DomainDue("default", "node", BOUNDS))

    def held(self, pipe: str) -> list[str]:
        return [message_id for _, message_id in listed(self.do, pipe)]

    def queued(self) -> list[str]:
        items = self.client.zrange("restms:{default}:index:2:queue", 0, -1)
        with self.client.pipeline(transaction=False) as asked:
            for item in items:
                asked.hget(f"restms:{{default}}:body:{item.decode().split(' ')[0]}", "i")
            return [name.decode() for name in asked.execute()]

    def on_their_way(self) -> list[str]:
        names = []
        for pipe in self.client.hkeys("restms:{default}:returning"):
            stream = f"restms:{{default}}:pipe:{pipe.decode()}:messages"
            names += [fields[b"i"].decode() for _, fields in self.client.xrange(stream)]
        return names

    @invariant()
    def each_message_is_in_one_place(self) -> None:
        everywhere = [*self.done, *self.queued(), *self.on_their_way()]
        for pipe in self.pipes:
            everywhere += self.held(pipe)
        assert sorted(everywhere) == sorted(name for _, name in self.posted)

    @invariant()
    def ondemand_pipes_hold_one_message_at_most(self) -> None:
        assert all(len(self.held(p)) <= 1 for p, kind in self.pipes.items() if kind)

    def finish(self) -> None:
        while self.do(DomainDue("default", "node", BOUNDS))[0] == "more":
            pass

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        self.finish()
        self.client.delete(CALLED)  # who was called and has not come is not waited for for long
        self.finish()
        room = [p for p in self.joined if not self.pipes[p] and len(self.held(p)) < ROOM]
        assert not (room and self.queued())
        for pipe in self.pipes:
            self.do(PipeDelete("default", pipe, "", "", BOUNDS))
        self.finish()
        left = [(back, int(name)) for back, name in self.posted if name not in self.done]
        assert self.queued() == [str(number) for _, number in sorted(left)]
        check_keys(self.client)
        check_no_leaks(self.client)
        self.client.close()


@pytest.fixture(scope="module")
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with closing(start_server(tmp_path_factory.mktemp("redis"))) as server:
        yield server


def test_any_sequence_keeps_what_must_hold(queue_server: Server) -> None:
    QueueMachine.server = queue_server
    explore(QueueMachine, sequences=100, steps=40)
