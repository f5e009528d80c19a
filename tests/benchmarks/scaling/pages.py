"""The tables of docs/scaling.md and docs/operations.md, and the plots, made from the costs.

python -m tests.benchmarks.scaling.pages        writes them anew, from costs.json
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks import document
from tests.benchmarks.plots import drawn
from tests.benchmarks.scaling import projecting
from tests.benchmarks.scaling.costs import Costs
from tests.benchmarks.scaling.model import Traffic, ceiling, needed, use

DOCS = Path("docs")
STEPS = {
    "publish": "a message published by itself",
    "publish call": "… and the command that carries it, with others or alone",
    "read": "a message read by itself",
    "look": "… where it has not come yet",
    "read call": "… the command of either",
    "acknowledge": "a message acknowledged by itself",
    "acknowledge call": "… the command",
    "cycle": "a turn of Redis, in which it reads and answers what has come",
    "turn": "a turn of a node in which it asks Redis",
    "kilobyte": "each kilobyte of a message",
    "batch": "a batch: publishing, reading and acknowledging it",
    "message": "… each message of it",
    "kilobyte in a batch": "… each kilobyte",
    "spread": "a message for several pipes",
    "delivery": "… each pipe, up to 500",
    "handed": "… each pipe, where there are more",
    "wait": "a wait that begins, with its connection and subscription",
    "reread": "a wait that looks by itself",
    "wake": "a wait that ends with its message",
    "look about": "a look for what is due in a domain",
    "domain check": "a node's check of a domain, every 10 seconds",
    "node second": "a node, each second",
}
SIZES = (
    Traffic(publishes=100, readers=1000),
    Traffic(publishes=1000, readers=10_000),
    Traffic(publishes=1000, readers=10_000, fan_out=3),
    Traffic(publishes=2000, readers=50_000, reread_seconds=60),
    Traffic(readers=100_000, reread_seconds=60),
    Traffic(publishes=10_000, readers=100_000, reread_seconds=60, domains=16),
    Traffic(publishes=10_000, batch=10, size=500),
    Traffic(publishes=30_000, batch=100, size=500),
    Traffic(publishes=100_000, batch=100, size=500, domains=16),
)


def tables(costs: Costs) -> dict[str, str]:
    """All tables by their names."""
    return {
        name: "\n".join(lines)
        for name, lines in (
            ("costs", _costs(costs)),
            ("runs", _runs(costs)),
            ("nodes", _nodes(costs)),
            ("batches", _batches(costs)),
            ("shards", _shards(costs)),
            ("readers", _readers(costs)),
            ("background", _background(costs)),
            ("sizing", _sizing(costs)),
        )
    }


def summary(costs: Costs) -> Iterator[str]:
    """What was found, as text."""
    yield f"\nWhat each step costs (Redis {costs.cold:g} times as much as with a core of its own)"
    yield from _costs(costs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _costs(costs: Costs) -> Iterator[str]:
    def cell(steps: dict[str, float], name: str) -> str:
        return f"{steps[name]:,.1f}" if steps.get(name, 0) >= 0.5 else ""

    rows = [(text, cell(costs.redis, name), cell(costs.node, name)) for name, text in STEPS.items()]
    rows.append(("beside it: a request to a bare Hypercorn", "", cell(costs.node, "bare request")))
    return _table(("microseconds of a core", "Redis", "node"), rows)


def _runs(costs: Costs) -> Iterator[str]:
    compared = [projecting.compare(costs, run) for run in costs.runs]
    rows = []
    for nodes in sorted({one.nodes for one in compared}):
        ours = [one for one in compared if one.nodes == nodes]
        busy = next(
            one for one in ours if (one.way, one.connections, one.domains) == ("publish", 64, 1)
        )
        cells = [f"{busy.group[0]:.1f} / {busy.group[1]:.1f}"]
        cells += [f"{a:.0f} / {b:.0f} µs" for a, b in (busy.redis, busy.node)]
        for what in ("group", "redis", "node"):
            cells.append(f"{projecting.spread(ours, what)[0]:.0%}")
        rows.append((str(nodes), str(len(ours)), *cells))
    head = (
        *("nodes", "kinds of runs", "calls in a command", "Redis, a message", "nodes, a message"),
        *("error: calls", "Redis", "nodes"),
    )
    return _table(head, rows)


def _nodes(costs: Costs) -> Iterator[str]:
    rows = []
    for nodes in projecting.NODES:
        quiet = projecting.publishing(costs, nodes, 2000)
        before = projecting.most(costs, nodes, bounded=False)
        now = projecting.most(costs, nodes)
        busy = projecting.publishing(costs, nodes, now / 2)
        rows.append(
            (
                str(nodes),
                f"{round(before, -2):,.0f}",
                f"{round(now, -2):,.0f}",
                f"{busy.group:.1f}",
                *(
                    f"{1e3 * one.time(0.5):.1f} / {1e3 * one.time(0.99):.1f}"
                    for one in (quiet, busy)
                ),
            )
        )
    head = (
        *("nodes", "at most a second, each turn sent at once", "as it is"),
        *(
            "calls in a command, at half of that",
            "2,000 a second: median / p99, ms",
            "half of the most",
        ),
    )
    return _table(head, rows)


def _batches(costs: Costs) -> Iterator[str]:
    plain = Traffic(size=100, headroom=1.0)
    rows = []
    for batch in (1, 10, 100, 1000):
        traffic = replace(plain, batch=batch)
        least, most = (
            max(ceiling(one, traffic, nodes) for nodes in (4, 10, 20))
            for one in (costs, costs.warm())
        )
        rows.append((f"{batch:,}", f"{least:,.0f}", f"{most:,.0f}"))
    head = ("messages in a request", "Redis beside nodes", "Redis with a core of its own")
    return _table(head, rows)


def _shards(costs: Costs) -> Iterator[str]:
    rows = []
    for shards in (1, 4, 16):
        cells = []
        for batch in (1, 100):
            traffic = Traffic(size=100, batch=batch, domains=4 * shards, headroom=1.0)
            best = max(
                ((nodes, ceiling(costs, traffic, nodes, shards)) for nodes in (4, 10, 30, 100)),
                key=lambda found: found[1],
            )
            cells.append(f"{best[1]:,.0f} ({best[0]})")
        rows.append((str(shards), *cells))
    head = ("primaries, with four domains each", "one by one (nodes)", "100 in a request (nodes)")
    return _table(head, rows)


def _readers(costs: Costs) -> Iterator[str]:
    rows = []
    for readers in (10_000, 100_000, 1_000_000):
        cells = []
        for seconds in (5, 15, 60):
            traffic = Traffic(readers=readers, reread_seconds=seconds)
            cells.append(f"{use(costs, traffic, readers // 10_000).redis:.2f}")
        held = use(costs, Traffic(readers=readers), readers // 10_000)
        cells.append(f"{held.redis_memory / 1e6:,.0f} MB")
        rows.append((f"{readers:,}", str(readers // 10_000), *cells))
    head = (
        *("readers who wait", "nodes"),
        *(f"cores of Redis, looking every {seconds} s" for seconds in (5, 15, 60)),
        "memory of Redis, with their pipes",
    )
    return _table(head, rows)


def _background(costs: Costs) -> Iterator[str]:
    rows = []
    for nodes in (1, 10, 100):
        found = [use(costs, Traffic(domains=domains), nodes) for domains in (1, 10, 100, 1000)]
        rows.append((str(nodes), *(f"{one.redis:.3f}" for one in found)))
    head = ("nodes that rest", *(f"{domains:,} domains" for domains in (1, 10, 100, 1000)))
    return _table(head, rows)


def _sizing(costs: Costs) -> Iterator[str]:
    rows = []
    for traffic in SIZES:
        found = needed(costs, traffic)
        if found is None:
            raise ValueError(f"there is no size for {traffic}")
        batch = "one by one" if traffic.batch == 1 else f"{traffic.batch} at once"
        rows.append(
            (
                f"{traffic.publishes:,.0f}, {batch}" if traffic.publishes else "none",
                f"{traffic.fan_out:g}",
                f"{traffic.readers:,}",
                f"{traffic.reread_seconds:g}",
                f"{traffic.domains}",
                f"**{found.nodes}**, {found.node:.0%}, {found.node_memory / 1e6:.0f} MB",
                f"**{found.shards}**, {found.full:.0%}, {found.redis_memory / 1e6:.0f} MB",
            )
        )
    head = (
        *("messages a second", "pipes each", "waiting readers", "`--reread-seconds`", "domains"),
        *("nodes, busy, memory", "Redis primaries, in use, memory"),
    )
    return _table(head, rows)


def draw(costs: Costs, directory: Path) -> None:
    """Draw what the simulation makes of more nodes."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "restms"
    plots: dict[str, Callable[[Any], None]] = {
        "nodes": lambda axes: _plot_nodes(axes, costs),
        "waiting": lambda axes: _plot_waiting(axes, costs),
    }
    for name, plot in plots.items():
        drawn(directory / f"{name}.svg", plot)


def _plot_nodes(axes: Any, costs: Costs) -> None:
    """How long half of the publishers wait, by how many messages there are, for so many nodes."""
    for nodes in projecting.NODES[1:]:
        found = [projecting.publishing(costs, nodes, rate) for rate in projecting.RATES]
        axes.plot(
            projecting.RATES,
            [1e3 * one.time(0.5) for one in found],
            marker="o",
            label=f"{nodes} nodes",
        )
    at_once = [
        projecting.publishing(costs, 10, rate, bounded=False) for rate in projecting.RATES[:4]
    ]
    axes.plot(
        *(projecting.RATES[:4], [1e3 * one.time(0.5) for one in at_once]),
        color="0.6",
        linestyle="--",
        label="10 nodes that send each turn at once",
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("messages a second into one domain, one in a request")
    axes.set_ylabel("milliseconds until half are answered")
    axes.set_ylim(0.5, 1500)
    axes.legend(frameon=False, loc="upper left")


def _plot_waiting(axes: Any, costs: Costs) -> None:
    """How busy those who only wait keep Redis."""
    readers = (1000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
    for seconds in (5, 15, 60):
        found = [
            use(costs, Traffic(readers=many, reread_seconds=seconds), max(1, many // 10_000)).redis
            for many in readers
        ]
        axes.plot(readers, found, marker="o", label=f"looking every {seconds} s")
    axes.axhline(1, color="0.6", linestyle="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("readers who wait, 10,000 at a node")
    axes.set_ylabel("cores of Redis")
    axes.legend(frameon=False)


def renew(costs: Costs | None, docs: Path) -> None:
    """Keep costs that have been measured anew, if they have, and write what is made of them."""
    if costs is not None:
        costs.write()
        update(costs, docs)


def update(costs: Costs, docs: Path = DOCS) -> None:
    """Write the tables and plots of the documents."""
    new = tables(costs)
    for page in ("scaling.md", "operations.md"):
        document.update(docs / page, new)
    draw(costs, docs / "images")


if __name__ == "__main__":
    update(Costs.load())
