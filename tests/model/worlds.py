"""The broker as it ought to be, in plain Python, to be compared with the real one.

A `World` is what the broker may hold. It says which pipe must get a message of a
feed that routes, in which order; of a feed that queues it says only what holds
of any good turn: each message has one holder, who was there first and comes
first goes first, and nothing waits while a pipe has room.

Where it cannot be known what happened (an answer was lost, a node was killed,
two writers wrote at a time) there are several worlds. Each answer and each look at
the pipes ends those that it contradicts; when none is left, the broker is wrong.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

ROUTING = ("", "fanout", "direct", "topic", "headers")
QUEUEING = ("rotator", "service")
KINDS = (*ROUTING, *QUEUEING)

Headers = tuple[tuple[str, str], ...]


class Contradiction(AssertionError):  # noqa: N818 - it is not an error of the model
    """What the broker does cannot happen in this world."""


def demand(truth: object, what: str) -> None:
    """Raise a Contradiction unless something is so."""
    if not truth:
        raise Contradiction(what)


class Message(NamedTuple):
    """A message as its writer posted it; `contents` are types and bytes."""

    id: str
    address: str = ""
    headers: Headers = ()
    priority: int = 0
    contents: tuple[tuple[str, bytes], ...] = ()


class Item(NamedTuple):
    """A message on its way. `place` and `since` tell its turn in the feed that queues it."""

    message: Message
    feed: str = ""  # empty where it was routed
    place: tuple[int, int] = (0, 0)  # the smaller goes first
    since: int = 0  # when it came to the queue, or came back
    returns: int = 0


class Join(NamedTuple):
    pipe: str
    feed: str
    address: str = ""
    headers: Headers = ()
    mode: str = "all"


class Answer(NamedTuple):
    """What a publish is answered with; `counts` where the feed is of a type that counts."""

    status: int
    counts: tuple[int, ...] | None = None
    full: int = 0


@dataclass
class Pipe:
    kind: str
    held: dict[int, Item] = field(default_factory=dict)
    coming: list[Item] = field(default_factory=list)  # routed, not seen yet
    last: int = 0
    taking: bool = False  # it may have taken a message, for a reader whose answer was lost


Listing = tuple[Sequence[tuple[int, str]], int]
"""What a pipe shows: number and message_id of each message, and the next one's number."""


class World:
    """Feeds, pipes and joins under names that never come again."""

    def __init__(self, *, room: int, queue: int, large: int) -> None:
        """`large`: the pipes up to which a fan-out is done at once."""
        self.room, self.queue_room, self.large = room, queue, large
        self.feeds: dict[str, str] = {"default": ""}  # name: type
        self.queues: dict[str, list[Item]] = {}
        self.pipes: dict[str, Pipe] = {}
        self.joins: dict[str, Join] = {}
        self.clock = 0  # of what comes to queues

    def copy(self) -> "World":
        """Return a world that goes its own way from here."""
        other = copy.copy(self)
        other.feeds, other.joins = dict(self.feeds), dict(self.joins)
        other.queues = {name: list(items) for name, items in self.queues.items()}
        other.pipes = {
            name: replace(pipe, held=dict(pipe.held), coming=list(pipe.coming))
            for name, pipe in self.pipes.items()
        }
        return other

    def likeness(self) -> object:
        """Two worlds with the same go on in the same way."""
        pipes = [(name, sorted(pipe.held.items())) for name, pipe in self.pipes.items()]
        items = [item for queue in self.queues.values() for item in queue]
        items += [item for _, held in pipes for _, item in held]
        times = sorted({item.since for item in items} | {item.place[1] for item in items})
        rank = {time: number for number, time in enumerate(times)}

        def plain(item: Item) -> object:
            place, since = (item.place[0], rank[item.place[1]]), rank[item.since]
            return item._replace(place=place, since=since)

        return (
            sorted(self.feeds),
            [(name, [plain(item) for item in queue]) for name, queue in self.queues.items()],
            [(name, [(n, plain(item)) for n, item in held]) for name, held in pipes],
        )

    # What clients make and delete

    def create_feed(self, name: str, kind: str) -> None:
        self.feeds[name] = kind
        if kind in QUEUEING:
            self.queues[name] = []

    def create_pipe(self, name: str, kind: str) -> None:
        self.pipes[name] = Pipe(kind)

    def join_status(self, join: Join) -> int:
        """What making a join is answered with."""
        pipe = self.pipes.get(join.pipe)
        if pipe is None or join.feed not in self.feeds:
            return 404
        if pipe.kind == "ondemand":
            if self.feeds[join.feed] not in QUEUEING:
                return 403
        elif join.feed == "default":
            return 403
        return 200 if join in self.joins.values() else 201

    def delete_join(self, name: str) -> None:
        join = self.joins.pop(name, None)
        if join is not None:
            self._end({join.feed})

    def delete_feed(self, name: str) -> None:
        self.feeds.pop(name, None)
        self.queues.pop(name, None)
        self.joins = {key: join for key, join in self.joins.items() if join.feed != name}

    def delete_pipe(self, name: str) -> None:
        """Delete a pipe: what it held of feeds that queue goes back to its place there."""
        pipe = self.pipes.pop(name, None)
        if pipe is None:
            return
        feeds = {join.feed for join in self.joins.values() if join.pipe == name}
        self.joins = {key: join for key, join in self.joins.items() if join.pipe != name}
        self.clock += 1  # all of it at once
        for item in pipe.held.values():
            if item.feed in self.queues:
                back = item._replace(since=self.clock, returns=item.returns + 1)
                self.queues[item.feed].append(back)
        for queue in self.queues.values():
            queue.sort(key=lambda item: item.place)
        self._end(feeds)

    def _end(self, feeds: Iterable[str]) -> None:
        """A service goes with its last join."""
        joined = {join.feed for join in self.joins.values()}
        for name in feeds:
            if self.feeds.get(name) == "service" and name not in joined:
                self.delete_feed(name)

    # What moves messages

    def publish(self, feed: str, messages: Sequence[Message], status: int = 200) -> Answer:
        """Route or queue messages, all or none; how that is answered.

        `status` is how it was answered, for the case that both can be.
        """
        if feed not in self.feeds:
            return Answer(404)
        kind = self.feeds[feed]
        if kind in QUEUEING:
            return self._queue(feed, messages, status)
        takers: list[tuple[Pipe, Message]] = []
        room = {name: self.room_of(name) for name in self.pipes}
        counts, full = [], 0
        for message in messages:
            wanting = self.wanting(feed, message)
            taking = [name for name in wanting if room[name] > 0]
            for name in taking:
                room[name] -= 1
                takers.append((self.pipes[name], message))
            if len(wanting) > self.large:
                counts.append(len(wanting))  # it is handed out later: nobody knows who is full
                continue
            if wanting and not taking:
                return Answer(503)
            counts.append(len(taking))
            full += len(wanting) - len(taking)
        for pipe, message in takers:
            pipe.coming.append(Item(message))
        return Answer(200, tuple(counts) if kind == "" else None, full)

    def _queue(self, feed: str, messages: Sequence[Message], status: int) -> Answer:
        given = self.given(feed)

        def fits(waiting: int) -> bool:
            straight_on = waiting == 0 and bool(given)
            return straight_on or waiting + len(messages) <= self.queue_room

        # Some may have been given to pipes, which have not been looked at since.
        most = len(self.queues[feed])
        least = max(0, most - sum(self.room_of(name) for name in given))
        if not fits(least) or (not fits(most) and status != 200):
            return Answer(503)
        for message in messages:
            self.clock += 1
            place = (9 - message.priority, self.clock)
            self.queues[feed].append(Item(message, feed, place, self.clock))
        self.queues[feed].sort(key=lambda item: item.place)
        return Answer(200)

    def wanting(self, feed: str, message: Message) -> list[str]:
        """The pipes that want a message of a feed that routes."""
        kind = self.feeds[feed]
        if feed == "default":
            return [name for name in self.pipes if name == message.address and self.plain(name)]
        joins = [join for join in self.joins.values() if join.feed == feed]
        return sorted({join.pipe for join in joins if wants(kind, join, message)})

    def given(self, feed: str) -> list[str]:
        """The pipes that a feed that queues gives messages to."""
        pipes = {join.pipe for join in self.joins.values() if join.feed == feed}
        return sorted(name for name in pipes if self.plain(name))

    def plain(self, pipe: str) -> bool:
        return self.pipes[pipe].kind != "ondemand"

    def room_of(self, name: str) -> int:
        pipe = self.pipes[name]
        return self.room - len(pipe.held) - len(pipe.coming)

    def heads(self, name: str) -> dict[str, Item]:
        """What an ondemand pipe would take now, by message_id: the first of one of its feeds."""
        feeds = {join.feed for join in self.joins.values() if join.pipe == name}
        queues = [self.queues[feed] for feed in feeds if self.queues[feed]]
        return {queue[0].message.id: queue[0] for queue in queues}

    def take(self, name: str, id: str) -> None:
        """An ondemand pipe has taken that message."""
        item = self.heads(name).get(id)
        if item is None:
            raise Contradiction(f"{name} took {id}, which is not the first of any of its feeds")
        pipe = self.pipes[name]
        self.queues[item.feed].remove(item)
        pipe.last += 1
        pipe.held[pipe.last] = item

    def acknowledge(self, name: str, number: int) -> None:
        pipe = self.pipes.get(name)
        if pipe is not None and number <= pipe.last:
            pipe.held = {n: item for n, item in pipe.held.items() if n > number}

    # What is seen

    def look(self, listings: dict[str, Listing | None]) -> None:
        """Compare with what the pipes show, and learn who got what."""
        for name, listing in listings.items():
            demand((listing is None) == (name not in self.pipes), f"{name} is there, or is not")
            if listing is not None:
                self._look_at(name, *listing)

    def _look_at(self, name: str, listed: Sequence[tuple[int, str]], following: int) -> None:
        pipe = self.pipes[name]
        known = [(number, item.message.id) for number, item in pipe.held.items()]
        demand(list(listed[: len(known)]) == known, f"{name} holds {listed}, not first {known}")
        for number, id in listed[len(known) :]:
            demand(number == pipe.last + 1, f"{name} has a number {number} after {pipe.last}")
            if pipe.coming and pipe.coming[0].message.id == id:
                item = pipe.coming.pop(0)
                pipe.last, pipe.held[number] = number, item
            elif pipe.kind == "ondemand":
                demand(pipe.taking and not pipe.held, f"{name} took {id} unasked")
                self.take(name, id)
            else:
                self._given_to(name, pipe, number, id)
        demand(following == pipe.last + 1, f"{name} awaits {following} after {pipe.last}")

    def _given_to(self, name: str, pipe: Pipe, number: int, id: str) -> None:
        """A feed has given a pipe a message: was it there, and was it its turn?"""
        feeds = [join.feed for join in self.joins.values() if join.pipe == name]
        waiting = [item for feed in feeds for item in self.queues.get(feed, ())]
        item = next((item for item in waiting if item.message.id == id), None)
        if item is None:
            raise Contradiction(f"{name} has {id}, which is not to come now: {pipe.coming}")
        for other in pipe.held.values():
            first = item.place < other.place and item.since <= other.since
            demand(other.feed != item.feed or not first, f"{name} has {id} after {other}")
        self.queues[item.feed].remove(item)
        pipe.last, pipe.held[number] = number, item

    def settled(self) -> bool:
        """Whether nothing is left to be done, but by clients."""
        if any(pipe.coming for pipe in self.pipes.values()):
            return False
        return not any(
            items and any(self.room_of(name) > 0 for name in self.given(feed))
            for feed, items in self.queues.items()
        )

    def settle(self) -> None:
        """Nothing of the past can come any more."""
        for pipe in self.pipes.values():
            pipe.taking = False


def wants(kind: str, join: Join, message: Message) -> bool:
    """Whether a join wants a message of its feed, by the letter of the profiles."""
    match kind:
        case "fanout":
            return True
        case "topic":
            return fits(words(join.address), words(message.address))
        case "headers":
            found = [header in message.headers for header in join.headers]
            return any(found) if join.mode == "any" else all(found)
        case _:
            return join.address == message.address


def words(text: str) -> list[str]:
    return text.split(".") if text else []


def fits(pattern: list[str], address: list[str]) -> bool:
    if not pattern:
        return not address
    if pattern[0] == "#":
        return fits(pattern[1:], address) or (bool(address) and fits(pattern, address[1:]))
    return bool(address) and pattern[0] in ("*", address[0]) and fits(pattern[1:], address[1:])
