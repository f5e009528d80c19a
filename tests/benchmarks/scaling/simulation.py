"""Nodes and Redis, turn by turn: how many calls travel together comes out of it.

A node, or Redis, does all that has come to it in one turn, and what comes meanwhile in the
next. A node's turn sends what it has for Redis as one write, with a command for each script
and domain; the more it does in a turn, the longer that takes, and the more comes meanwhile.
So groups grow by themselves, where something is busy.

Nothing else is simulated: no packets, no garbage collector, no neighbours on the machine.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

MICROSECONDS = 1e-6


@dataclass(frozen=True)
class Kind:
    """One kind of request: what it takes of a node and of Redis, in microseconds.

    `call` is for each command that carries such calls, `each` for each call in it.
    """

    name: str
    node: float
    call: float
    each: float


@dataclass(frozen=True)
class Costs:
    """What turns take beside what is done in them, in microseconds.

    `turn` is a node's; `write` is Redis's for each node's write that it reads, and `cycle` for
    each turn of its own; `network` is the way between two machines, `client` what a client takes
    for a request, which is nobody's business but where it shares the cores.
    """

    turn: float
    write: float
    cycle: float
    network: float = 100.0
    client: float = 0.0


@dataclass
class Outcome:
    """What came of it. Times in seconds; `node` and `redis` are how busy they were, of one core."""

    answered: int = 0
    calls: int = 0
    commands: int = 0
    redis: float = 0.0
    node: float = 0.0
    times: list[float] = field(default_factory=list)

    @property
    def group(self) -> float:
        """How many calls travel in one command."""
        return self.calls / max(1, self.commands)

    def time(self, share: float) -> float:
        """The time within which that share of the requests was answered."""
        ordered = sorted(self.times)
        return ordered[int(share * (len(ordered) - 1))] if ordered else 0.0


@dataclass(slots=True)
class _Request:
    kind: Kind
    domain: int
    began: float
    node: int


Command = tuple[Kind, list[_Request]]


class _Node:
    __slots__ = ("arrived", "held", "queued", "replies", "under_way")

    def __init__(self) -> None:
        self.arrived: list[_Request] = []
        self.replies: list[list[_Request]] = []
        self.held: dict[tuple[str, int], list[_Request]] = {}
        self.under_way: Counter[tuple[str, int]] = Counter()
        self.queued = False  # it has a turn, or waits for one


class Simulation:
    """So many nodes with one Redis. `most` groups of a script and domain are under way, at a node.

    With `cores`, nodes, Redis and the client of `closed` share so many; else each has its own.
    """

    def __init__(
        self,
        costs: Costs,
        nodes: int,
        *,
        domains: int = 1,
        most: int = 2,
        cores: int = 1_000_000,
        seed: int = 1,
    ) -> None:
        self._costs = costs
        self._nodes = [_Node() for _ in range(nodes)]
        self._domains = domains
        self._most = most
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._now = 0.0
        self._free = cores
        self._ready: deque[Callable[[], None]] = deque()
        self._writes: list[tuple[int, list[Command]]] = []
        self._redis_queued = False
        self._returned: list[_Request] = []
        self._client_queued = False
        self._conversation: Sequence[Kind] = ()
        self.outcome = Outcome()

    def open(self, rates: Mapping[Kind, float], seconds: float) -> Outcome:
        """Requests come by chance, so many a second of each kind, at all nodes alike."""
        for kind, rate in rates.items():
            at = 0.0
            while rate and (at := at + self._random.expovariate(rate)) < seconds:
                domain = self._random.randrange(self._domains)
                node = self._random.randrange(len(self._nodes))
                self._at(at, self._arrive, _Request(kind, domain, at, node))
        return self._run(seconds)

    def closed(self, kinds: Sequence[Kind], connections: int, seconds: float) -> Outcome:
        """Each connection sends the next of those kinds when the last is answered."""
        self._conversation = kinds
        self._returned = [
            _Request(kinds[-1], n % self._domains, 0.0, n % len(self._nodes))
            for n in range(connections)
        ]
        self._at(0.0, self._want_client)
        return self._run(seconds)

    def _run(self, seconds: float) -> Outcome:
        while self._events:
            at, _, do, arguments = heapq.heappop(self._events)
            if at > seconds:
                break
            self._now = at
            do(*arguments)
        self.outcome.redis /= seconds
        self.outcome.node /= seconds * len(self._nodes)
        return self.outcome

    def _at(self, when: float, do: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (when, next(self._order), do, arguments))

    def _later(self, do: Callable[..., None], *arguments: Any) -> None:
        self._at(self._now + self._costs.network * MICROSECONDS, do, *arguments)

    def _want(self, turn: Callable[[], None]) -> None:
        """Have a turn as soon as a core is free."""
        self._ready.append(turn)
        self._go()

    def _go(self) -> None:
        while self._free and self._ready:
            self._free -= 1
            self._ready.popleft()()

    def _takes(self, microseconds: float, do: Callable[..., None], *arguments: Any) -> float:
        """Do something when that time of a core is over; return the seconds."""

        def done() -> None:
            self._free += 1
            do(*arguments)
            self._go()

        self._at(self._now + microseconds * MICROSECONDS, done)
        return microseconds * MICROSECONDS

    def _arrive(self, request: _Request) -> None:
        self._nodes[request.node].arrived.append(request)
        self._want_node(request.node)

    def _want_node(self, number: int) -> None:
        node = self._nodes[number]
        if not node.queued and (node.arrived or node.replies):
            node.queued = True
            self._want(partial(self._node_turn, number))

    def _node_turn(self, number: int) -> None:
        node = self._nodes[number]
        arrived, node.arrived = node.arrived, []
        replies, node.replies = node.replies, []
        # Half of what a request takes is before Redis is asked, and half when it has answered.
        work = sum(request.kind.node for request in arrived) / 2
        work += sum(request.kind.node for reply in replies for request in reply) / 2
        turn = self._costs.turn * (bool(arrived) + bool(replies)) / 2
        self.outcome.node += self._takes(turn + work, self._node_done, number, arrived, replies)

    def _node_done(
        self, number: int, arrived: list[_Request], replies: list[list[_Request]]
    ) -> None:
        node = self._nodes[number]
        for reply in replies:
            self.outcome.answered += len(reply)
            self.outcome.times += [self._now - request.began for request in reply]
            node.under_way[reply[0].kind.name, reply[0].domain] -= 1
            if self._conversation:
                self._later(self._return, reply)
        for request in arrived:
            node.held.setdefault((request.kind.name, request.domain), []).append(request)
        commands: list[Command] = []
        for key in list(node.held):
            if node.under_way[key] < self._most:
                group = node.held.pop(key)
                commands.append((group[0].kind, group))
                node.under_way[key] += 1
        if commands:
            self._later(self._sent, number, commands)
        node.queued = False
        self._want_node(number)

    def _sent(self, number: int, commands: list[Command]) -> None:
        self._writes.append((number, commands))
        self._want_redis()

    def _want_redis(self) -> None:
        if self._writes and not self._redis_queued:
            self._redis_queued = True
            self._want(self._redis_turn)

    def _redis_turn(self) -> None:
        """Redis does all that has come, and answers when that is done."""
        writes, self._writes = self._writes, []
        took = self._costs.cycle
        for _, commands in writes:
            took += self._costs.write
            for kind, group in commands:
                took += kind.call + kind.each * len(group)
                self.outcome.calls += len(group)
                self.outcome.commands += 1
        self.outcome.redis += self._takes(took, self._redis_done, writes)

    def _redis_done(self, writes: list[tuple[int, list[Command]]]) -> None:
        self._redis_queued = False
        for number, commands in writes:
            self._later(self._answered, number, [group for _, group in commands])
        self._want_redis()

    def _answered(self, number: int, replies: list[list[_Request]]) -> None:
        self._nodes[number].replies += replies
        self._want_node(number)

    def _return(self, reply: list[_Request]) -> None:
        self._returned += reply
        self._want_client()

    def _want_client(self) -> None:
        if self._returned and not self._client_queued:
            self._client_queued = True
            self._want(self._client_turn)

    def _client_turn(self) -> None:
        returned, self._returned = self._returned, []
        self._takes(self._costs.client * len(returned), self._client_done, returned)

    def _client_done(self, returned: list[_Request]) -> None:
        self._client_queued = False
        kinds = self._conversation
        for request in returned:
            following = kinds[(kinds.index(request.kind) + 1) % len(kinds)]
            self._later(self._arrive, _Request(following, request.domain, self._now, request.node))
        self._want_client()
