"""What the simulation says of nodes that were run, and of more than a small machine can run."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.scaling import costs as measured
from tests.benchmarks.scaling.simulation import Costs, Kind, Outcome, Simulation

UNBOUNDED = 1_000_000  # groups under way
NODES = (2, 4, 10, 30, 100)
RATES = (1000, 2000, 5000, 10_000, 15_000, 20_000, 25_000, 30_000)
LONGEST_SECONDS = 0.05  # that half of the requests may take, or it is too much
SECONDS = 0.5
CLIENT = 40.0  # microseconds of our own client for a request
NEAR, APART = 10.0, 100.0  # microseconds from one process, or one machine, to another


def kinds(costs: measured.Costs) -> dict[str, Kind]:
    """The kinds of requests that real nodes were measured with."""
    redis, node = costs.redis, costs.node
    return {
        name: Kind(
            name, node[name], redis[f"{'read' if name == 'look' else name} call"], redis[name]
        )
        for name in measured.KINDS
    }


def turns(costs: measured.Costs, network: float) -> Costs:
    return Costs(
        costs.node["turn"], costs.redis["write"], costs.redis["cycle"], network, client=CLIENT
    )


@dataclass(frozen=True)
class Compared:
    """A run of real nodes, and what the simulation says of it; microseconds for each request."""

    way: str
    nodes: int
    connections: int
    domains: int
    group: tuple[float, float]
    redis: tuple[float, float]
    node: tuple[float, float]

    def error(self, what: str) -> float:
        seen, said = getattr(self, what)
        return abs(float(said) / float(seen) - 1)


def compare(costs: measured.Costs, run: dict[str, float | str], cores: int = 2) -> Compared:
    """Simulate what real nodes did, on cores that they share with Redis and the client."""
    way, count = str(run["way"]), int(run["nodes"])
    connections, domains = int(run["connections"]), int(run["domains"])
    all_kinds = kinds(costs)
    talk = [all_kinds[name] for name in (measured.KINDS[:3] if way == "exchange" else (way,))]
    simulation = Simulation(turns(costs, NEAR), count, domains=domains, cores=cores)
    said = simulation.closed(talk, connections, SECONDS)
    each = 1e6 * SECONDS / said.answered
    return Compared(
        *(way, count, connections, domains),
        (float(run["group"]), said.group),
        (float(run["redis"]), said.redis * each),
        (float(run["node"]), said.node * count * each),
    )


def publishing(
    costs: measured.Costs,
    nodes: int,
    rate: float,
    *,
    bounded: bool = True,
    seconds: float = SECONDS,
) -> Outcome:
    """Publish single messages into one domain, at nodes that have a core each, as Redis has."""
    most = {} if bounded else {"most": UNBOUNDED}
    simulation = Simulation(turns(costs.warm(), APART), nodes, **most)
    return simulation.open({kinds(costs.warm())["publish"]: rate}, seconds)


def most(costs: measured.Costs, nodes: int, *, bounded: bool = True) -> float:
    """How many single messages a second one domain takes from so many nodes, to the next 500."""
    low, high = 0.0, 40_000.0
    while high - low > 500:
        middle = (low + high) / 2
        found = publishing(costs, nodes, middle, bounded=bounded)
        if found.time(0.5) < LONGEST_SECONDS and found.answered > 0.8 * middle * SECONDS:
            low = middle
        else:
            high = middle
    return low


def spread(compared: Sequence[Compared], what: str) -> tuple[float, float]:
    """The median and the largest of the errors."""
    errors = sorted(one.error(what) for one in compared)
    return errors[len(errors) // 2], errors[-1]
