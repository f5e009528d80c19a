"""What each step costs, as it was measured: `costs.json`, with its date and its machine.

Microseconds of a processor, unless a name says otherwise. `measuring.py` has the samples,
and this finds in them what explains them.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from restms_cluster import turns
from tests.benchmarks.scaling.fit import Fit, Steps, cheapest, fit
from tests.benchmarks.scaling.samples import Sample

FILE = Path(__file__).with_name("costs.json")
KINDS = ("publish", "read", "acknowledge", "look")
ANSWERED = "read or acknowledge"
SECONDS: dict[str, Callable[[Sample], float]] = {
    "redis": lambda sample: sample.took.redis,
    "node": lambda sample: sample.took.nodes,
}


@dataclass(frozen=True)
class Costs:
    """What was measured: `redis` and `node` by step, `memory` and the network's `bytes` in bytes.

    Redis's are those beside nodes on two cores, where it comes to its work cold: `cold` times as
    much as when it has a core of its own and always something to do. `errors` says how
    far the steps are from the samples that they were found in, as a share of these. `runs` are
    what real nodes were seen to do, to hold the simulation against.
    """

    date: str
    machine: Mapping[str, str]
    cold: float
    redis: Steps
    node: Steps
    memory: Steps
    bytes: Steps
    errors: Steps
    runs: Sequence[Mapping[str, float | str]]

    @classmethod
    def load(cls, path: Path = FILE) -> "Costs":
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path = FILE) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1) + "\n")

    def warm(self) -> "Costs":
        """What it costs where Redis has a core of its own that it fills."""
        return replace(
            self, cold=1.0, redis={name: cost / self.cold for name, cost in self.redis.items()}
        )

    def scaled(self, slower: float) -> "Costs":
        """What it costs on cores that take so many times as long."""
        redis, node = (
            {name: slower * cost for name, cost in steps.items()}
            for steps in (self.redis, self.node)
        )
        return replace(self, redis=redis, node=node)


def found(samples: Sequence[Sample], date: str, machine: Mapping[str, str]) -> Costs:
    """Find what each step costs in the samples of `measuring.py`."""
    alone = [one for one in samples if one.way in KINDS and not one.nodes]
    single = [one for one in samples if one.way in (*KINDS, "exchange") and one.nodes]
    redis_fit = _fitted(alone, "redis", _redis_steps)
    node_fit = _fitted(single, "node", _node_steps)
    cold = statistics.median(
        one.took.redis / _explained(one, redis_fit.costs, "redis") for one in single
    )
    redis = {name: cold * cost for name, cost in redis_fit.costs.items()}
    node = node_fit.costs
    node["read"] = node["acknowledge"] = node.pop(ANSWERED)
    for server, costs in (("redis", redis), ("node", node)):
        _add_sizes(samples, server, costs)
        _add_waits(samples, server, costs)
    redis |= _background(samples)
    node["bare request"] = min(
        1e6 * one.took.nodes / one.done["bare"] for one in samples if one.way == "bare"
    )
    waits = [one for one in samples if one.way == "memory"]
    memory = {
        "wait in a node": statistics.median(one.done["node"] for one in waits),
        "wait in Redis": statistics.median(one.done["redis"] for one in waits),
        "pipe's first message": statistics.median(
            one.took.memory / one.done["publish"] for one in alone if one.way == "publish"
        ),
    }
    return Costs(
        date,
        machine,
        round(cold, 2),
        *(_rounded(one) for one in (redis, node, memory, _bytes(alone))),
        errors={"redis": round(redis_fit.error, 3), "node": round(node_fit.error, 3)},
        runs=list(_runs(single)),
    )


def _runs(samples: Iterable[Sample]) -> Iterator[dict[str, float | str]]:
    """What nodes did in single messages: the median of all samples that are alike."""
    alike: dict[tuple[str, int, int, int], list[Sample]] = defaultdict(list)
    for one in samples:
        alike[one.way, one.nodes, one.connections, one.domains].append(one)
    for (way, nodes, connections, domains), several in alike.items():
        yield {
            "way": way,
            "nodes": nodes,
            "connections": connections,
            "domains": domains,
            **{
                name: round(statistics.median(value(one) for one in several), 2)
                for name, value in (
                    ("group", lambda one: sum(one.done.values()) / one.took.calls),
                    ("redis", lambda one: 1e6 * one.took.redis / sum(one.done.values())),
                    ("node", lambda one: 1e6 * one.took.nodes / sum(one.done.values())),
                )
            },
        }


def _rounded(steps: Steps) -> Steps:
    return {name: round(value, 2) for name, value in sorted(steps.items())}


def _fitted(samples: Iterable[Sample], server: str, steps: Callable[[Sample], Steps]) -> Fit:
    seconds = SECONDS[server]
    return fit([(steps(one), seconds(one)) for one in cheapest(samples, seconds)])


def _redis_steps(sample: Sample) -> Steps:
    """Calls, the commands that carried them, and what came with those."""
    kinds = [name for name in sample.done if name in KINDS]
    steps = {name: sample.done[name] for name in kinds}
    # Each kind in as many commands as the others: they are as many, and come as they come.
    steps |= {f"{name} call": sample.took.calls / len(kinds) for name in kinds}
    # Redis finds its definitions of all that reads alike.
    if "look call" in steps:
        steps["read call"] = steps.get("read call", 0.0) + steps.pop("look call")
    return {**steps, "write": sample.took.reads, "cycle": sample.took.cycles}


def _node_steps(sample: Sample) -> Steps:
    """Requests, and turns: in each the node writes to Redis once, which that reads once."""
    steps: Steps = defaultdict(float)
    for name, many in sample.done.items():
        # Nobody read here who did not acknowledge: the two can only be told together.
        steps[ANSWERED if name in ("read", "acknowledge") else name] += many
    return {**steps, "turn": sample.took.reads}


def _explained(sample: Sample, costs: Steps, server: str) -> float:
    """The seconds that the steps of single messages come to."""
    steps = (
        _redis_steps(sample) if server == "redis" else {**sample.done, "turn": sample.took.reads}
    )
    return sum(costs.get(name, 0.0) * many for name, many in steps.items()) / 1e6


def _add_sizes(samples: Sequence[Sample], server: str, costs: Steps) -> None:
    """Add what larger messages, many of them in a request, and many pipes cost beside that."""
    seconds = SECONDS[server]
    large = [one for one in samples if one.way == "sizes" and one.done["kilobytes"] > 2000]
    costs["kilobyte"] = statistics.median(
        max(0.0, 1e6 * (seconds(one) - _explained(one, costs, server)) / one.done["kilobytes"])
        for one in cheapest(large, seconds)
    )
    for way in ("batches", "fan"):
        chosen = cheapest((one for one in samples if one.way == way), seconds)
        costs |= {
            {"kilobytes": "kilobyte in a batch"}.get(name, name): cost
            for name, cost in fit([(one.done, seconds(one)) for one in chosen]).costs.items()
        }


def _add_waits(samples: Sequence[Sample], server: str, costs: Steps) -> None:
    """Add what it costs to park a wait, to read again in it, and to wake it."""
    seconds = SECONDS[server]
    for way, name in (("park", "wait"), ("idle", "reread")):
        costs[name] = min(1e6 * seconds(one) / one.done[name] for one in samples if one.way == way)
    costs["wake"] = min(
        max(0.0, 1e6 * (seconds(one) - _posting(one, costs, server)) / one.done["wake"])
        for one in samples
        if one.way == "wake"
    )


def _posting(sample: Sample, costs: Steps, server: str) -> float:
    """The seconds that publishing came to, a third of the calls where each message wakes one."""
    many, calls = sample.done["publish"], sample.took.calls / 3
    if server == "node":
        return many * costs["publish"] / 1e6 + calls * costs["turn"] / 1e6
    return (many * costs["publish"] + calls * (costs["publish call"] + costs["write"])) / 1e6


def _background(samples: Sequence[Sample]) -> Steps:
    """What nodes cost that rest, by the second: for each node, for a look, for each check."""
    rows = [
        (
            {
                "node second": one.done["node"],
                "look about": looks(one.nodes) * one.domains * one.took.elapsed,
                "domain check": one.done["place"] / 10,
            },
            one.took.redis,
        )
        for one in samples
        if one.way == "background"
    ]
    return fit(rows).costs


def looks(nodes: int) -> float:
    """How often a second somebody looks for what is due, or to be swept, in a domain."""
    if nodes <= turns.LOOKERS:
        return 1.2 * nodes
    return 1.2 * max(turns.LOOKERS, nodes / turns.MOST)


def _bytes(alone: Sequence[Sample]) -> Steps:
    """Bytes between a node and Redis for each call, beside those of the message."""
    return {
        f"{kind} {way}": statistics.median(
            getattr(one.took, which) / one.done[kind] for one in alone if one.way == kind
        )
        for kind in KINDS
        for way, which in (("to Redis", "received"), ("from Redis", "sent"))
    }
