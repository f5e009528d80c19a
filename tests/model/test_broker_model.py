"""Two nodes and the model of worlds.py: whatever clients do, and whatever dies, they agree.

Every request goes to another node. After each step the pipes are compared with the
model: what each must hold, in which order, under which numbers; which reader may
have got what of a feed that queues. In the end all that is left is drained, or
deleted as it stands, and Redis must be as empty as at first.

RESTMS_MODEL_EXAMPLES=2000 makes a long run of it.
"""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from restms_cluster.keys import domain_key
from restms_cluster.transitions import DomainConfigure
from tests.conformance.client import DOMAIN, expect
from tests.conformance.documents import Element, restms
from tests.leaks import check_keys, kept, run
from tests.model.clients import Client, Staged, message_tree, number_of
from tests.model.small import SMALL
from tests.model.worlds import (
    KINDS,
    QUEUEING,
    Answer,
    Contradiction,
    Join,
    Message,
    World,
    demand,
)
from tests.nodes import Cluster

ROOM, QUEUE, EMBED = 6, 8, 200
OPTIONS = (
    *("--messages-per-pipe", str(ROOM), "--messages-per-feed", str(QUEUE)),
    *("--embed-bytes", str(EMBED), "--document-bytes", "16MiB"),
    *("--reread-seconds", "60", "--sweep-seconds", "1"),
)
EXAMPLES = int(os.environ.get("RESTMS_MODEL_EXAMPLES", "10"))
STEPS = 25
MOST_PIPES, MOST_FEEDS = 5, 5
SETTLE_SECONDS = 10.0
MOST_WORLDS = 6

ADDRESSES = ("", "a", "a.b", "b.a.b")
PATTERNS = (*ADDRESSES, "#", "*", "a.*", "*.b", "a.#", "#.b.#", "*.#")
HEADERS = (("h", "1"), ("h", "2"), ("k", "1"))
SIZES = (0, 3, EMBED + 1, 5_000, 300_000)

picks = st.integers(0, 59)

Operation = Callable[[World], object]


@dataclass(frozen=True)
class Shape:
    """A message as it is drawn, without its name."""

    address: str
    headers: tuple[tuple[str, str], ...]
    priority: int
    sizes: tuple[int, ...]
    staged: bool


shapes = st.builds(
    Shape,
    address=st.sampled_from(ADDRESSES),
    headers=st.sets(st.sampled_from(HEADERS), max_size=2).map(lambda some: tuple(sorted(some))),
    priority=st.sampled_from((0, 0, 0, 0, 5, 9)),
    sizes=st.one_of(
        st.just(()), st.just((3,)), st.lists(st.sampled_from(SIZES), max_size=3).map(tuple)
    ),
    staged=st.sampled_from((False, False, True)),
)
batches = st.lists(shapes, min_size=1, max_size=4)


class BrokerMachine(RuleBasedStateMachine):
    """Clients, nodes that die, and the worlds that agree with what was seen."""

    cluster: Cluster
    large: int

    @initialize(
        mortal=st.sampled_from((False, False, False, True)),
        drains=st.booleans(),
        first=st.sampled_from(("topic", "topic", "direct", "headers", "")),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=2),
        pipes=st.lists(st.sampled_from(("", "", "ondemand")), min_size=2, max_size=3),
        data=st.data(),
    )
    def start(
        self,
        mortal: bool,
        drains: bool,
        first: str,
        kinds: list[str],
        pipes: list[str],
        data: st.DataObject,
    ) -> None:
        self.redis = self.cluster.redis.client()
        server = self.redis.hget(domain_key("default"), "run")
        self.redis.flushall()
        # The nodes have entered it; one that was emptied behind their backs is another.
        self.redis.hset(domain_key("default"), "run", server)
        run(self.redis, DomainConfigure("default", "", ("default", "", "", "", "", "")))
        self.client = Client(self.cluster)
        self.worlds = [World(room=ROOM, queue=QUEUE, large=self.large)]
        self.uris = {"default": "/restms/feed/default"}  # of whatever there ever was
        self.names = itertools.count(1)
        self.sound = True
        self.lives, self.drains = int(mortal), drains
        self.steps = 0
        for kind in (first, *kinds):
            self.create_feed(kind, public=True)
        for kind in pipes:
            self.create_pipe(kind, data)
            for _ in "12":  # several joins of one pipe may match, and several pipes want a message
                self.create_join(data, pipe=list(self.world.pipes)[-1])

    # How a step is made

    def apply(self, operation: Operation) -> None:
        """Let something happen in all worlds; those end in which it could not."""
        going, why = [], None
        for world in self.worlds:
            try:
                operation(world)
                going.append(world)
            except Contradiction as contradiction:
                why = contradiction
        if not going:
            assert why is not None
            raise why
        self.worlds = going

    def fork(self, *operations: Operation) -> None:
        """Let one of several things happen: nobody knows which."""
        worlds, why = [], None
        for world in self.worlds:
            for operation in operations:
                other = world.copy()
                try:
                    operation(other)
                    worlds.append(other)
                except Contradiction as contradiction:
                    why = contradiction
        if not worlds:
            assert why is not None
            raise why
        self.worlds = worlds

    def settle(self) -> None:
        """Wait until nothing is left to be done; the pipes must show what the model says."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            busy = self.redis.exists(
                *(f"restms:{{default}}:{what}" for what in ("works", "returning", "queued"))
            )
            names = sorted({name for world in self.worlds for name in world.pipes})
            listings = {name: self.client.listing(self.uris[name]) for name in names}
            self.apply(lambda world, listings=listings: world.look(listings))
            settled = [world for world in self.worlds if world.settled()]
            late = time.monotonic() > deadline
            if len(settled) == len(self.worlds) or (settled and (late or not busy)):
                break
            assert not late, f"what is to come does not come: {vars(self.worlds[0])}"
            time.sleep(0.002)
        alike = {repr(world.likeness()): world for world in settled}
        self.worlds = list(alike.values())
        self.steps += 1
        for world in self.worlds:
            world.settle()
        self.sound = True

    def begin(self) -> None:
        self.sound = False  # until the step is through

    @property
    def world(self) -> World:
        """Any world: they differ in what pipes hold and queues have, hardly ever in more."""
        return self.worlds[0]

    def named(self, what: str) -> str:
        return f"{what}{next(self.names)}"

    def pick(self, data: st.DataObject, names: Sequence[str]) -> str:
        """Any of some names. What is drawn must not depend on who got what: chance decides that."""
        number = data.draw(picks)
        return names[number % len(names)] if names else ""

    def messages(self, batch: list[Shape], address: str | None = None) -> list[Message]:
        made = []
        for shape in batch:
            contents = tuple(
                ("text/plain", b"t" * size)
                if place % 2 == 0
                else ("image/png", (b"\x00\xff" * size)[:size])
                for place, size in enumerate(shape.sizes)
            )
            where = shape.address if address is None else address
            name = self.named("m")
            made.append(Message(name, where, shape.headers, shape.priority, contents))
        return made

    def staged(self, feed: str, messages: list[Message], batch: list[Shape]) -> Staged:
        """Stage the contents of those messages that are to have them so."""
        some = [m for m, shape in zip(messages, batch, strict=True) if shape.staged]
        if feed not in self.world.feeds:
            return {}
        return self.client.stage(self.uris[feed], some)

    # Feeds, pipes, joins

    @precondition(lambda self: len(self.world.feeds) <= MOST_FEEDS)
    @rule(kind=st.sampled_from(KINDS), public=st.booleans())
    def create_feed(self, kind: str, public: bool) -> None:
        self.begin()
        name = self.named("feed")
        asked = {"name": name, "type": kind} if public else {"type": kind}
        self.uris[name] = self.client.create(DOMAIN, feed=[asked])
        self.apply(lambda world: world.create_feed(name, kind))
        self.settle()

    @precondition(lambda self: len(self.world.pipes) < MOST_PIPES)
    @rule(kind=st.sampled_from(("", "", "ondemand")), data=st.data())
    def create_pipe(self, kind: str, data: st.DataObject) -> None:
        self.begin()
        uri = self.client.create(DOMAIN, pipe=[{"type": kind}])
        name = uri.rpartition("/")[2]  # which is its address on the feed `default`
        self.uris[name] = uri
        self.apply(lambda world: world.create_pipe(name, kind))
        self.settle()
        self.create_join(data, pipe=name)

    @precondition(lambda self: self.world.pipes)
    @rule(data=st.data())
    def create_join(self, data: st.DataObject, pipe: str = "") -> None:
        self.begin()
        pipe = pipe or self.pick(data, list(self.world.pipes))
        feeds = list(self.world.feeds)
        feed = self.pick(data, [*feeds, *feeds[1:2], *feeds[1:], *feeds[1:]])
        kind = self.world.feeds[feed]
        join = Join(pipe, feed)
        if kind in ("", "direct"):
            join = join._replace(address=data.draw(st.sampled_from(ADDRESSES)))
        elif kind == "topic":
            join = join._replace(address=data.draw(st.sampled_from(PATTERNS)))
        elif kind == "headers":
            some = data.draw(st.sets(st.sampled_from(HEADERS), max_size=2))
            mode = data.draw(st.sampled_from(("all", "any")))
            join = join._replace(headers=tuple(sorted(some)), mode=mode)
        answer = self.client.send("POST", self.uris[pipe], restms(join=[self.join_element(join)]))
        self.apply(lambda world: demand(answer.status_code == world.join_status(join), answer.text))
        if answer.status_code == 201:
            name = self.named("join")
            self.uris[name] = answer.headers["location"]
            for world in self.worlds:
                world.joins[name] = join
        self.settle()

    def join_element(self, join: Join) -> Element:
        headers = [*join.headers, *([("x-match", join.mode)] if join.mode == "any" else [])]
        return {
            "feed": self.uris[join.feed],
            "address": join.address,
            **({"header": [{"name": n, "value": v} for n, v in headers]} if headers else {}),
        }

    # Deletions are drawn less often than the rest, or there would be little to delete.

    @precondition(lambda self: self.steps % 4 == 3 and self.world.joins)
    @rule(data=st.data())
    def delete_join(self, data: st.DataObject) -> None:
        name = self.pick(data, list(self.world.joins))
        self.delete(name, lambda world: world.delete_join(name))

    @precondition(lambda self: self.steps % 3 == 2 and len(self.world.pipes) > 1)
    @rule(data=st.data())
    def delete_pipe(self, data: st.DataObject) -> None:
        name = self.pick(data, list(self.world.pipes))
        self.delete(name, lambda world: world.delete_pipe(name))

    @precondition(lambda self: self.steps % 6 == 5 and len(self.world.feeds) > 1)
    @rule(data=st.data())
    def delete_feed(self, data: st.DataObject) -> None:
        name = self.pick(data, [name for name in self.world.feeds if name != "default"])
        self.delete(name, lambda world: world.delete_feed(name))

    def delete(self, name: str, operation: Operation) -> None:
        """Delete something, sometimes without hearing that it was done."""
        self.begin()
        if self.steps % 2:
            self.client.lose("DELETE", self.uris[name], node=self.client.node())
        expect(self.client.send("DELETE", self.uris[name]), 200)
        self.apply(operation)
        self.settle()

    @rule(data=st.data())
    def look_for_a_feed(self, data: st.DataObject) -> None:
        """Wolf Call: a service is there as long as somebody serves."""
        name = self.pick(data, [name for name in self.uris if name.startswith("feed")])
        status = self.client.send("GET", self.uris[name]).status_code
        assert status == (200 if name in self.world.feeds else 404)

    # Publishing

    @rule(data=st.data(), batch=batches)
    def publish(self, data: st.DataObject, batch: list[Shape]) -> None:
        self.begin()
        feed = self.some_feed(data)
        messages = self.messages(batch)
        self.post(feed, messages, self.staged(feed, messages, batch))
        self.settle()

    @rule(data=st.data(), batch=batches)
    def publish_to_pipes(self, data: st.DataObject, batch: list[Shape]) -> None:
        """Each message to a pipe by its name, or to nobody."""
        self.begin()
        names = [name for name in self.uris if name not in self.world.joins]
        batch = batch[:3]
        messages = [m._replace(address=self.pick(data, names)) for m in self.messages(batch)]
        self.post("default", messages, self.staged("default", messages, batch))
        self.settle()

    def kind_of(self, feed: str) -> str | None:
        return self.world.feeds.get(feed)

    def some_feed(self, data: st.DataObject) -> str:
        """A feed to post to, mostly one that somebody is joined to."""
        known = [name for name in self.uris if name.startswith("feed")]
        joined = [name for name in known if any(j.feed == name for j in self.world.joins.values())]
        return self.pick(data, [*joined, *joined, *known])

    def post(self, feed: str, messages: list[Message], staged: Staged) -> None:
        tree = message_tree(messages, staged)
        self.answered(feed, messages, self.client.send("POST", self.uris[feed], tree))

    def answered(self, feed: str, messages: list[Message], response: object) -> None:
        answer = self.client.answered(response)  # type: ignore[arg-type]
        self.apply(lambda world: posted(world, feed, messages, answer))

    @rule(data=st.data(), batch=batches, key=st.integers(0, 10**9), early=st.booleans())
    def publish_again_after_a_lost_answer(
        self, data: st.DataObject, batch: list[Shape], key: int, early: bool
    ) -> None:
        """The request has a key, so it is routed once, by whichever of the two came first."""
        self.begin()
        feed = self.some_feed(data)
        messages = self.messages(batch)
        staged = self.staged(feed, messages, batch)
        request = ("POST", self.uris[feed], message_tree(messages, staged))
        once = {"Idempotency-Key": f"{key}-{self.steps}"}
        self.client.lose(*request, node=self.client.node(), patience=0 if early else 5, **once)
        self.answered(feed, messages, self.client.send(*request, **once))
        self.settle()

    @rule(data=st.data(), batches=st.lists(batches, min_size=3, max_size=4))
    def publish_at_a_time(self, data: st.DataObject, batches: list[list[Shape]]) -> None:
        """Two writers: each one's messages are in order, however the two come between."""
        self.begin()
        feeds = [self.some_feed(data), self.some_feed(data)]
        requests = [
            (feeds[n % 2], messages) for n, messages in enumerate(map(self.messages, batches))
        ]

        def write(own: list[tuple[str, list[Message]]]) -> list[Answer]:
            trees = [(self.uris[feed], message_tree(messages, {})) for feed, messages in own]
            return [self.client.answered(self.client.send("POST", *tree)) for tree in trees]

        # Where nobody could tell what pipes had room in between, one after the other.
        mixed = feeds[0] != feeds[1] and any(self.kind_of(feed) in QUEUEING for feed in feeds)
        if mixed:
            for feed, messages in requests:
                self.begin()
                self.post(feed, messages, {})
                self.settle()
            return
        unsure = len(self.worlds) >= MOST_WORLDS
        with ThreadPoolExecutor(1 if unsure else 2) as threads:
            first, second = threads.map(write, (requests[::2], requests[1::2]))
        streams = [
            list(zip(requests[n::2], answers, strict=True))
            for n, answers in enumerate((first, second))
        ]

        def in_order(order: tuple[int, ...]) -> Operation:
            def happen(world: World) -> None:
                left = [iter(stream) for stream in streams]
                for writer in order:
                    (feed, messages), answer = next(left[writer])
                    posted(world, feed, messages, answer)

            return happen

        turns = [n % 2 for n in range(len(requests))]
        orders = [tuple(sorted(turns))] if unsure else set(itertools.permutations(turns))
        self.fork(*[in_order(order) for order in sorted(orders)])
        self.settle()

    @precondition(lambda self: self.world.joins)
    @rule(data=st.data(), shape=shapes)
    def publish_what_was_published(self, data: st.DataObject, shape: Shape) -> None:
        """A content goes with one request; another that names it is refused whole."""
        self.begin()
        feed = self.some_feed(data)
        if feed in self.world.feeds:
            one, two, three = (Message(self.named("m"), contents=(("a/b", b"x"),)) for _ in "123")
            staged = self.client.stage(self.uris[feed], [one])
            self.post(feed, [one], staged)
            spent = message_tree([two, three], {three.id: staged[one.id]})
            answer = self.client.send("POST", self.uris[feed], spent)
            self.apply(lambda world: refused(world, feed, [two, three], answer.status_code))
        self.settle()

    # Reading

    @precondition(lambda self: self.world.pipes)
    @rule(data=st.data())
    def read_in_order(self, data: st.DataObject) -> None:
        self.read_all(self.pick(data, list(self.world.pipes)))

    def read_all(self, name: str) -> None:
        pipe = self.world.pipes[name]
        for number, item in pipe.held.items():
            answer = expect(self.client.send("GET", f"{self.uris[name]}-{number}"), 200)
            self.client.check(self.client.document(answer)["message"][0], item)
        gone = pipe.last - len(pipe.held)
        for number in (gone, pipe.last + 2):
            expect(self.client.send("GET", f"{self.uris[name]}-{number}"), 404)

    @precondition(lambda self: any(pipe.held for pipe in self.world.pipes.values()))
    @rule(data=st.data(), most=st.integers(1, ROOM))
    def read_many(self, data: st.DataObject, most: int) -> None:
        """A batch has the oldest messages, each with its URI."""
        name = self.pick(data, [name for name, pipe in self.world.pipes.items() if pipe.held])
        uri = f"{self.uris[name]}?messages={most}"
        found = self.client.document(expect(self.client.send("GET", uri), 200))["message"]
        held = list(self.world.pipes[name].held.items())[:most]
        assert [number_of(element["href"]) for element in found] == [number for number, _ in held]
        for element, (_, item) in zip(found, held, strict=True):
            self.client.check(element, item)

    @precondition(lambda self: self.world.pipes)
    @rule(data=st.data())
    def read_the_next(self, data: st.DataObject) -> None:
        """Nothing comes to a plain pipe by reading; an ondemand pipe that is empty takes one."""
        self.begin()
        name = self.pick(data, [*self.world.pipes, *self.takers()])
        uri = f"{self.uris[name]}-{self.world.pipes[name].last + 1}"
        answer = expect(self.client.send("GET", uri, prefer="wait=0"), 200, 204)
        element = self.client.document(answer)["message"][0] if answer.content else None
        self.apply(lambda world: read_next(world, name, element, self.client))
        self.settle()

    def takers(self) -> list[str]:
        pipes = self.world.pipes
        return [n for n, pipe in pipes.items() if pipe.kind == "ondemand" and not pipe.held]

    @precondition(lambda self: self.world.pipes)
    @rule(data=st.data(), batch=batches)
    def wait_for_the_next(self, data: st.DataObject, batch: list[Shape]) -> None:
        """A reader who waits on one node has what is posted on another."""
        self.begin()
        name = self.pick(data, list(self.world.pipes))
        pipe, feed = self.world.pipes[name], "default"
        if pipe.kind == "ondemand":
            feeds = [join.feed for join in self.world.joins.values() if join.pipe == name]
            alone = [feed for feed in feeds if not self.world.given(feed)]
            feed = "" if pipe.held or self.world.heads(name) or not alone else alone[0]
        if feed and (pipe.kind == "ondemand" or self.world.room_of(name) > 0):
            self.wait_and_post(name, feed, self.messages(batch[:1], name))
        self.settle()

    def wait_and_post(self, name: str, feed: str, messages: list[Message]) -> None:
        pipe = self.world.pipes[name]
        with ThreadPoolExecutor(1) as threads:
            uri = f"{self.uris[name]}-{pipe.last + 1}"
            wait = threads.submit(self.client.send, "GET", uri, prefer="wait=10")
            self.await_reader(name, pipe.kind)
            self.post(feed, messages, {})
            answer = expect(wait.result(), 200)
        element = self.client.document(answer)["message"][0]
        if pipe.kind == "ondemand":
            self.apply(lambda world: read_next(world, name, element, self.client))
        assert element["message_id"] == messages[0].id

    def await_reader(self, name: str, kind: str) -> None:
        """Wait until a node listens for the pipe, and an ondemand pipe stands in line."""
        stream = f"restms:{{default}}:pipe:{name[1:]}:messages"
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            channels = (f"__keyspace@0__:{stream}", stream)
            listening = sum(count for _, count in self.redis.pubsub_numsub(*channels))
            called = f"?{name[1:]} ".encode()
            turns = [t for key in self.redis.keys("*:turns") for t in self.redis.zrange(key, 0, -1)]
            if listening and (kind == "" or any(turn.startswith(called) for turn in turns)):
                return
            time.sleep(0.002)
        raise AssertionError("nobody waits")

    @rule(data=st.data(), ahead=st.integers(0, ROOM + 1), lost=st.booleans())
    def acknowledge(self, data: st.DataObject, ahead: int, lost: bool) -> None:
        """Acknowledge one or several messages, or one that has not come yet, which does nothing."""
        self.begin()
        if name := self.pick(data, [n for n, pipe in self.world.pipes.items() if pipe.held]):
            number = min(self.world.pipes[name].held) + ahead
            uri = f"{self.uris[name]}-{number}"
            if lost and number <= self.world.pipes[name].last:
                self.client.lose("DELETE", uri, node=self.client.node())
            expect(self.client.send("DELETE", uri), 200)
            self.apply(lambda world: world.acknowledge(name, number))
        self.settle()

    # Dying

    @precondition(lambda self: self.lives > 0 and self.steps > 4 and self.world.pipes)
    @rule(
        data=st.data(),
        what=st.sampled_from(("publish", "publish", "acknowledge", "take", "delete")),
        batch=batches,
        patience=st.sampled_from((0.0, 0.002, 0.005, 0.02)),
    )
    def kill_a_node(
        self, data: st.DataObject, what: str, batch: list[Shape], patience: float
    ) -> None:
        """A node is killed over a request: it took effect whole, or not at all."""
        self.begin()
        self.lives -= 1
        name = self.pick(data, list(self.world.pipes))
        pipe = self.world.pipes[name]
        body: tuple[Element, ...] = ()
        happen: Operation
        if what == "publish":
            feed = self.some_feed(data)
            messages = self.messages(batch)
            method, uri = "POST", self.uris[feed]
            body = (message_tree(messages, self.staged(feed, messages, batch)),)
            happen = lambda world: world.publish(feed, messages)  # noqa: E731
        elif what == "delete":
            method, uri = "DELETE", self.uris[name]
            happen = lambda world: world.delete_pipe(name)  # noqa: E731
        elif what == "acknowledge":
            method, uri = "DELETE", f"{self.uris[name]}-{pipe.last}"
            number = pipe.last
            happen = lambda world: world.acknowledge(name, number)  # noqa: E731
        else:
            method, uri = "GET", f"{self.uris[name]}-{pipe.last + 1}"
            happen = may_take(name)
        doomed = self.client.node()
        with self.client.cut(method, uri, *body, node=doomed, patience=patience):
            self.client.kill(doomed)
        for _ in "12":  # what it had written to Redis has been read by then
            self.redis.ping()
        if what == "delete":  # this can be asked for again
            expect(self.client.send(method, uri), 200)
            self.apply(happen)
        else:
            self.fork(lambda _: None, happen)
        self.settle()

    @precondition(lambda self: self.client.dead is not None)
    @rule()
    def revive_the_node(self) -> None:
        self.client.revive()

    # The end

    def teardown(self) -> None:
        if not hasattr(self, "worlds"):
            return
        try:
            self.client.revive()
            if self.sound:
                if self.drains:
                    self.drain()
                self.delete_all()
                self.await_nothing_left()
        finally:
            self.client.close()
            self.redis.close()

    def drain(self) -> None:
        """Read and acknowledge all there is; new readers get what still waits in feeds."""
        for feed in list(self.world.queues):
            name = self.client.create(DOMAIN, pipe=[{}]).rpartition("/")[2]
            self.uris[name] = f"/restms/resource/{name}"
            self.apply(lambda world, name=name: world.create_pipe(name, ""))
            join = Join(name, feed)
            self.client.create(self.uris[name], join=[self.join_element(join)])
            for world in self.worlds:
                world.joins[f"{name}-join"] = join
            self.settle()
        while any(pipe.held for pipe in self.world.pipes.values()):
            for name, pipe in self.world.pipes.items():
                if pipe.held:
                    self.read_all(name)
                    last = max(pipe.held)
                    expect(self.client.send("DELETE", f"{self.uris[name]}-{last}"), 200)
                    self.apply(lambda world, name=name, last=last: world.acknowledge(name, last))
            self.settle()
        self.apply(lambda world: demand(not any(world.queues.values()), "something is left"))

    def delete_all(self) -> None:
        left = [*self.world.pipes, *(name for name in self.world.feeds if name != "default")]
        for name in left[:: 1 if self.steps % 2 else -1]:
            expect(self.client.send("DELETE", self.uris[name]), 200)

    def await_nothing_left(self) -> None:
        """In Redis there is nothing that stays, but what a new broker has."""
        deadline = time.monotonic() + SETTLE_SECONDS
        check_keys(self.redis)
        while left := kept(self.redis, "default"):
            assert time.monotonic() < deadline, f"left behind for ever: {left}"
            time.sleep(0.01)


def posted(world: World, feed: str, messages: list[Message], answer: Answer) -> None:
    expected = world.publish(feed, messages, answer.status)
    demand(answer == expected, f"posted to {feed}: {answer}, not {expected}")


def refused(world: World, feed: str, messages: list[Message], status: int) -> None:
    """The first message could have been refused for want of room; then its content was free."""
    demand(status in (200, 404, 503), f"named twice: {status}")
    if status == 200:
        raise Contradiction("a content was published twice")


def may_take(name: str) -> Operation:
    def take(world: World) -> None:
        if world.pipes[name].kind == "ondemand":
            world.pipes[name].taking = True

    return take


def read_next(world: World, name: str, element: Element | None, client: Client) -> None:
    """What reading the next message of a pipe comes to."""
    pipe = world.pipes[name]
    takes = pipe.kind == "ondemand" and not pipe.held
    heads = world.heads(name) if takes else {}
    if element is None:
        demand(not heads, f"{name} found nothing, although there is {heads}")
    else:
        demand(takes, f"{name} has a message that was not listed")
        world.take(name, element["message_id"])
        client.check(element, pipe.held[pipe.last])


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parent)}


def check_model(cluster: Cluster, large: int, examples: int) -> None:
    machine = type("Machine", (BrokerMachine,), {"cluster": cluster, "large": large})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nodes_agree_with_the_model() -> None:
    with Cluster(2, *OPTIONS) as cluster:
        check_model(cluster, 500, EXAMPLES)


def test_nodes_agree_with_the_model_where_all_is_done_in_chunks(
    environment: dict[str, str],
) -> None:
    with Cluster(2, *OPTIONS, "--extra-profiles", "small_scripts", env=environment) as cluster:
        check_model(cluster, SMALL["LARGE"], EXAMPLES)
