"""What so many nodes and servers take for so much traffic, from the measured costs.

Costs of steps are added up. How many calls travel in one command is not a measured number:
it follows from what a node has to do in a turn, and from how long Redis takes (`_groups`).
`simulation.py` does the same turn by turn, and the two are compared in a test.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from restms_cluster.pipeline import UNDER_WAY
from tests.benchmarks.scaling.costs import Costs, looks

HANDED = 500  # a message for more pipes is handed out by and by (lib_route.lua)
NETWORK_SECONDS = 200e-6  # to Redis and back
LONGEST_SECONDS = 0.05  # that a call may take: what needs more is too much
CHECK_SECONDS = 10.0  # of a node's checks (member.py)
READ_SHARE = 0.3  # of what a message in a batch costs, to read and acknowledge it
NODE = 60e6  # bytes of a node's process that rests
PIPE = 1700  # bytes of a pipe with two joins (docs/performance.md)
OVERHEAD = 150  # bytes of Redis for a stored message, beside its own
HEADS = 400  # bytes of a request and its answer, beside the message
MOST_NODES = 1000
STEPS = 40
BISECTIONS = 12
CYCLES = 4
MICROSECONDS = 1e-6


@dataclass(frozen=True)
class Traffic:
    """What comes in a second, and who waits.

    Each of `publishes` messages has `size` bytes and is for `fan_out` pipes. `batch` of them
    come in a request, and readers read and acknowledge as many at once; with 1, each message is
    waited for, read and acknowledged by itself. `readers` wait at any time: they look by
    themselves every `reread_seconds`, and ask anew after `wait_seconds`. `stored` messages are kept
    at a time. `headroom` is the share of a core that may be used.
    """

    publishes: float = 0.0
    size: int = 1000
    fan_out: float = 1.0
    batch: int = 1
    readers: int = 0
    reread_seconds: float = 5.0
    wait_seconds: float = 55.0
    domains: int = 1
    stored: int = 0
    headroom: float = 0.6

    @property
    def deliveries(self) -> float:
        return self.publishes * self.fan_out


@dataclass(frozen=True)
class Use:
    """What is in use: `node` and `redis` of one core each, memory of each in bytes.

    The busier Redis is, the more calls travel together, and the less each takes. So `redis`, how
    busy it is seen to be, does not tell what more it could do; `full` does: how busy it would be
    if calls were let wait for 50 ms. `group` is how many calls travel together, `network` the
    bytes a second of all nodes, `milliseconds` what a call takes from a node to Redis and back.
    """

    nodes: int
    shards: int
    node: float
    redis: float
    full: float
    group: float
    node_memory: float
    redis_memory: float
    network: float
    milliseconds: float

    def fits(self, traffic: Traffic) -> bool:
        return max(self.node, self.full) <= traffic.headroom

    @property
    def bottleneck(self) -> str:
        return "Redis" if self.full >= self.node else "the nodes"


def use(costs: Costs, traffic: Traffic, nodes: int, shards: int = 1) -> Use:
    """Tell what so many nodes and servers have to do."""
    shards = min(shards, traffic.domains)  # a domain is on one server
    requests = _requests(traffic)
    rate = sum(requests.values()) / nodes
    steps = sum(costs.node[name] * many for name, many in requests.items()) / nodes
    turns = rate / _in_turn(costs, requests, nodes) * costs.node["turn"]
    redis, full = _groups(costs, traffic, requests, nodes, shards)
    stored = traffic.stored * (traffic.size + OVERHEAD)
    pipes = traffic.readers * (PIPE + costs.memory["pipe's first message"])
    return Use(
        nodes,
        shards,
        _node_base(costs, traffic) / nodes + (steps + turns) * MICROSECONDS,
        redis.busy,
        full.busy,
        redis.group,
        NODE + traffic.readers / nodes * costs.memory["wait in a node"],
        (traffic.readers * costs.memory["wait in Redis"] + pipes + stored) / shards,
        (traffic.publishes + traffic.deliveries) * (traffic.size + HEADS),
        1e3 * min(redis.wanted, LONGEST_SECONDS),
    )


def needed(costs: Costs, traffic: Traffic, waits_a_node: int = 10_000) -> Use | None:
    """Return the fewest servers, and for them the fewest nodes, that do; at least two nodes.

    None where one server a domain is not enough.
    """
    sizes = {2**n for n in range(10) if 2**n < traffic.domains} | {traffic.domains}
    for shards in sorted(sizes):
        nodes = max(2, math.ceil(traffic.readers / waits_a_node))
        while nodes <= MOST_NODES:
            found = use(costs, traffic, nodes, shards)
            if found.fits(traffic):
                return found
            if found.node <= traffic.headroom:
                break  # more nodes would not help Redis
            nodes = max(nodes + 1, math.ceil(nodes * min(found.node / traffic.headroom, 1.5)) - 1)
    return None


def ceiling(costs: Costs, traffic: Traffic, nodes: int, shards: int = 1) -> float:
    """Return how many messages a second are the most that there is headroom for."""
    low, high = 0.0, 1e7
    for _ in range(30):
        middle = (low + high) / 2
        if use(costs, replace(traffic, publishes=middle), nodes, shards).fits(traffic):
            low = middle
        else:
            high = middle
    return low


def _requests(traffic: Traffic) -> dict[str, float]:
    """Calls of scripts a second that travel in groups, by their kinds."""
    if traffic.batch > 1:
        return {}
    return {
        # To several pipes at once is one call for all of them (`_redis_base`).
        "publish": traffic.publishes if traffic.fan_out <= 1 else 0.0,
        "look": 2 * traffic.deliveries,  # before a wait parks, and when it does
        "acknowledge": traffic.deliveries,
    }


def _redis_base(costs: Costs, traffic: Traffic, nodes: int, shards: int) -> float:
    """The share of each server's core that does not depend on groups."""
    redis, each, more = costs.redis, traffic.publishes, traffic.deliveries - traffic.publishes
    work = traffic.readers / traffic.reread_seconds * redis["reread"]
    work += traffic.readers / traffic.wait_seconds * redis["wait"]
    if traffic.batch > 1:
        work += each / traffic.batch * redis["batch"]
        work += each * redis["message"]
        work += max(0.0, more) * (redis["delivery"] + READ_SHARE * redis["message"])
        work += each * traffic.size / 1000 * redis["kilobyte in a batch"]
    else:
        work += traffic.deliveries * redis["wake"] + each * traffic.size / 1000 * redis["kilobyte"]
        if traffic.fan_out > 1:
            kind = "handed" if traffic.fan_out > HANDED else "delivery"
            work += each * redis["spread"] + traffic.deliveries * redis[kind]
    work += nodes * shards * redis["node second"]
    work += traffic.domains * looks(nodes) * redis["look about"]
    work += traffic.domains * nodes / CHECK_SECONDS * redis["domain check"]
    return work / shards * MICROSECONDS


def _node_base(costs: Costs, traffic: Traffic) -> float:
    """Cores of all nodes for what does not depend on turns."""
    node, each = costs.node, traffic.publishes
    work = traffic.readers / traffic.reread_seconds * node["reread"]
    work += traffic.readers / traffic.wait_seconds * node["wait"]
    if traffic.batch > 1:
        work += each / traffic.batch * node["batch"] + each * node["message"]
        work += max(0.0, traffic.deliveries - each) * READ_SHARE * node["message"]
        work += each * traffic.size / 1000 * node["kilobyte in a batch"]
    else:
        work += traffic.deliveries * node["wake"]
        work += (each + traffic.deliveries) * traffic.size / 1000 * node["kilobyte"]
        if traffic.fan_out > 1:
            work += each * node["spread"]
            work += traffic.deliveries * node["handed"] if traffic.fan_out > HANDED else 0.0
    return work * MICROSECONDS


def _together(come: Callable[[float], float]) -> float:
    """How many come to one turn, where `come` says how many do in a turn of so many.

    At least one, or there would be no turn: those of chance, and one where there are none.
    """
    found = 1.0
    for _ in range(STEPS):
        mean = min(1000.0, come(found))
        found = mean + math.exp(-mean)
    return found


def _in_turn(costs: Costs, requests: Mapping[str, float], nodes: int) -> float:
    """How many requests come in one turn of a node."""
    rate = sum(requests.values()) / nodes
    if not rate:
        return 1.0
    each = sum(costs.node[name] * many for name, many in requests.items()) / nodes / rate
    return _together(lambda many: rate * (costs.node["turn"] + many * each) * MICROSECONDS)


@dataclass(frozen=True)
class Served:
    """How many calls travel together, how busy Redis is, and how long that makes a call take."""

    group: float
    busy: float
    wanted: float


def _groups(
    costs: Costs, traffic: Traffic, requests: Mapping[str, float], nodes: int, shards: int
) -> tuple[Served, Served]:
    """Tell what Redis does as it goes, and what it would do if calls waited as long as they may."""
    turn = _in_turn(costs, requests, nodes)
    base = _redis_base(costs, traffic, nodes, shards)

    def served(seconds: float) -> Served:
        return _served(costs, traffic, requests, nodes, shards, turn, base, seconds)

    full = served(LONGEST_SECONDS)
    low, high = NETWORK_SECONDS, LONGEST_SECONDS
    for _ in range(
        BISECTIONS
    ):  # the longer calls wait, the more travel together: until it is enough
        middle = (low + high) / 2
        if served(middle).wanted > middle:
            low = middle
        else:
            high = middle
    return served(high), full


def _served(
    costs: Costs,
    traffic: Traffic,
    requests: Mapping[str, float],
    nodes: int,
    shards: int,
    turn: float,
    base: float,
    seconds: float,
) -> Served:
    """Tell what Redis does where each call takes so long.

    Those of one script and one domain that come in a node's turn travel together, and, where
    two such groups are under way, those that come until one is answered.
    """
    total, busy = sum(requests.values()), base
    if not total:
        return Served(1.0, base, NETWORK_SECONDS / max(0.02, 1 - base))
    commands = {}
    for kind, many in requests.items():
        if many:
            together = 1 + (turn - 1) * many / total / traffic.domains
            here = many / nodes / traffic.domains
            commands[kind] = many / max(together, here * seconds / UNDER_WAY)
    each = sum(many * costs.redis[kind] for kind, many in requests.items())
    each += sum(
        many * (costs.redis[f"{'read' if kind == 'look' else kind} call"] + costs.redis["write"])
        for kind, many in commands.items()
    )
    count = sum(commands.values())
    for _ in range(CYCLES):  # of several writes at once, where there is much to do
        writes = _together(partial(operator.mul, min(busy, 0.95)))
        busy = base + (each + count / writes * costs.redis["cycle"]) / shards * MICROSECONDS
    # Half of the time they wait for those before them: M/D/1, whose group is one job.
    waits = min(busy, 0.995) / (1 - min(busy, 0.995)) / 2
    wanted = math.inf if busy >= 1 else NETWORK_SECONDS + busy * shards / count * (1 + waits)
    return Served(total / count, busy, wanted)
