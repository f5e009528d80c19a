"""What joins that do not match cost a publish, and what it costs to make and delete one among them.

    python -m tests.benchmarks.joins [rounds] [--plot FILE] [--as-filled]

Three brokers stand side by side: on each there are three feeds (direct, topic,
headers) with 10, 1,000 or 100,000 joins, one for each pipe. None of them wants
the message, though all nearly do. A round measures every way on each broker in
turn, and the ratios to the broker with 10 are taken within a round.

Redis is restarted with its data when all joins are made. Making them scatters
the memory that Redis's Lua works in, which costs every script something,
also when they are deleted again: `--as-filled` measures without the restart.
"""

import argparse
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cbor2
import trio

from restms_cluster import matching
from restms_cluster.address import Address
from restms_cluster.connection import Connection
from restms_cluster.model import Header
from restms_cluster.scripts import Transition
from restms_cluster.transitions import JoinCreate, JoinDelete, MessagePublish
from tests.benchmarks import bulk
from tests.benchmarks.wire import Wire
from tests.leaks import told
from tests.nodes import Cluster
from tests.servers import start_server

SIZES = (10, 1_000, 100_000)
KINDS = ("direct", "topic", "headers")
CALLS = 100  # of a script, in one round trip
POSTS = 20
TEXT = "x" * 100
ADDRESS = {"direct": "stock/ibm/nyse/-", "topic": "stock.ibm.nyse.none", "headers": ""}
PATTERNS = ("stock.*.nyse.{}.#", "stock.#.{}", "*.ibm.*.{}", "#.nyse.{}.*")
LAST = 0x10000  # from here on, every character may end an address


def wanted_address(kind: str, number: int) -> str:
    """What the join of that number wants: it differs from ADDRESS at the very end."""
    if kind == "direct":
        return ADDRESS[kind][:-1] + chr(LAST + number)
    return PATTERNS[number % len(PATTERNS)].format(number) if kind == "topic" else ""


def headers(kind: str, customer: str) -> tuple[Header, ...]:
    if kind != "headers":
        return ()
    return bulk.headers(kind="order", region="eu", customer=customer)


def joining(kind: str, number: int, pipe: int, name: str) -> JoinCreate:
    wanted = headers(kind, str(number))
    packed = cbor2.dumps([[header.name, header.value] for header in wanted]) if wanted else b""
    match = matching.wanted(wanted)
    return bulk.join(pipe, name, kind, wanted_address(kind, number), match, packed)


def joins(count: int) -> Iterator[JoinCreate]:
    """One join for each pipe on each feed."""
    for place, kind in enumerate(KINDS, start=2):
        for number in range(1, count + 1):
            yield joining(kind, number, number, bulk.secret(place * bulk.MOST + number))


@dataclass
class Broker:
    """One node on a Redis of its own, with so many joins on each feed."""

    size: int
    connection: Connection
    wire: Wire

    async def publish(self, kind: str) -> float:
        """Seconds that the script takes to publish one message."""
        carried = headers(kind, "none")
        digests = matching.carried(carried) if carried else ""
        message = (ADDRESS[kind], "", digests, "", "", 1, TEXT)
        one = MessagePublish(
            bulk.DOMAIN, kind, bulk.BOUNDS, 1_000_000, "0" * 16, "", 3_600_000, message
        )
        await self._timed([one] * CALLS)  # what stands first in a round would be a little slower
        return await self._timed([one] * CALLS)

    async def post(self, kind: str) -> float:
        """Seconds that one POST of a message takes over HTTP."""
        carried = "".join(
            f'<header name="{h.name}" value="{h.value}"/>' for h in headers(kind, "none")
        )
        content = f"<content>{TEXT}</content>"
        message = f'<message address="{ADDRESS[kind]}">{carried}{content}</message>'
        body, times = f"<restms>{message}</restms>".encode(), []
        for _ in range(POSTS):
            began = time.perf_counter()
            await self.wire.send("POST", f"/restms/feed/{kind}", body)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    async def create(self, kind: str) -> float:
        """Seconds that the script takes to make one more join; `delete` then follows."""
        return await self._timed(
            [
                joining(kind, self.size + n, 1 + n % self.size, bulk.secret(n))
                for n in range(1, CALLS + 1)
            ]
        )

    async def delete(self, kind: str) -> float:
        """Seconds that the script takes to delete one join."""
        names = [bulk.secret(n) for n in range(1, CALLS + 1)]
        return await self._timed(
            [JoinDelete(bulk.DOMAIN, name, "", "", bulk.IDLE, bulk.BOUNDS) for name in names]
        )

    async def _timed(self, transitions: list[Transition]) -> float:
        commands = [bulk.command(transition) for transition in transitions]
        began = time.perf_counter()
        replies: list[Any] = [*await self.connection.call_many(commands)]
        elapsed = time.perf_counter() - began
        for transition, reply in zip(transitions, replies, strict=True):
            if isinstance(reply, Exception) or told(transition, reply)[0] != "ok":
                raise RuntimeError(reply)
        return elapsed / len(commands)


WAYS: dict[str, Callable[[Broker, str], Awaitable[float]]] = {
    "publish": Broker.publish,
    "POST over HTTP": Broker.post,
    "create a join": Broker.create,
    "delete a join": Broker.delete,
}
Found = dict[tuple[str, str], dict[int, list[float]]]
"""Seconds in each round, by way and feed, then by size."""


async def compare(clusters: dict[int, Cluster], rounds: int) -> Found:
    """Measure all ways on all brokers in turn. The first round only warms up."""
    found: Found = {(way, kind): {s: [] for s in SIZES} for way in WAYS for kind in KINDS}
    async with trio.open_nursery() as nursery:
        brokers = []
        for size, cluster in clusters.items():
            connection = Connection(Address.parse(cluster.redis.url), timeout=60)
            await nursery.start(connection.run)
            brokers.append(Broker(size, connection, await Wire.to(cluster.urls[0])))
        for number in range(rounds + 1):
            for kind in KINDS:
                for way, measure in WAYS.items():
                    for broker in brokers if number % 2 else reversed(brokers):
                        seconds = await measure(broker, kind)
                        if number:
                            found[way, kind][broker.size].append(seconds)
        nursery.cancel_scope.cancel()
    return found


def ratios(times: dict[int, list[float]], size: int) -> list[float]:
    """Of each round: the time with so many joins, to the time with fewest."""
    return [a / b for a, b in zip(times[size], times[SIZES[0]], strict=True)]


def quartiles(found: list[float]) -> list[float]:
    """The quartiles; of one round, three times what it gave."""
    return statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3


def report(found: Found) -> str:
    """Medians, with the middle half of the rounds."""
    rows = [
        "".join((f"{'':>24} {SIZES[0]:>8} joins", *(f"{size:>14,} joins" for size in SIZES[1:])))
    ]
    for (way, kind), times in found.items():
        row = f"{way:>15} {kind:>8} {1e6 * statistics.median(times[SIZES[0]]):11,.1f} us"
        for size in SIZES[1:]:
            low, middle, high = quartiles(ratios(times, size))
            row += f"  {middle:.2f} ({low:.2f}-{high:.2f})"
        rows.append(row)
    return "\n".join(rows)


def plot(found: Found, path: Path) -> None:
    """Draw the ratios."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "restms"
    from matplotlib import pyplot as plt

    lines = {
        "publish, direct": (("publish", "direct"), "o", "-"),
        "publish, topic": (("publish", "topic"), "s", "-"),
        "publish, headers": (("publish", "headers"), "^", "-"),
        "create a join (topic)": (("create a join", "topic"), "D", "--"),
        "delete a join (topic)": (("delete a join", "topic"), "v", "--"),
    }
    figure, axes = plt.subplots(figsize=(7, 4))
    for label, (way, marker, style) in lines.items():
        heights = [statistics.median(ratios(found[way], size)) for size in SIZES]
        axes.plot(SIZES, heights, marker=marker, linestyle=style, label=label)
    axes.set_xscale("log")
    axes.set_ylim(0, 2)
    axes.set_yticks([0, 0.5, 1, 1.5, 2])
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.set_xlabel("joins on the feed, none of which matches")
    axes.set_ylabel(f"time, to that with {SIZES[0]} joins")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", ncols=2)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})


@contextmanager
def filled(size: int, *, restart: bool) -> Iterator[Cluster]:
    """Yield a node on a Redis that has the feeds and so many joins on each."""
    with TemporaryDirectory() as directory, closing(start_server(Path(directory))) as server:
        with Cluster(1, redis=server), server.client() as client:
            bulk.run_all(client, (bulk.feed(kind, kind) for kind in KINDS))
            bulk.run_all(client, bulk.pipes(size))
            bulk.run_all(client, joins(size))
            if restart:
                client.save()
        if restart:
            server.restart()
        with Cluster(1, redis=server) as cluster:
            yield cluster


def measured(rounds: int, *, restart: bool = True) -> Found:
    """Make the brokers and their joins, and compare."""
    with ExitStack() as stack:
        clusters = {size: stack.enter_context(filled(size, restart=restart)) for size in SIZES}
        return trio.run(partial(compare, clusters, rounds))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", type=int, nargs="?", default=40)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw an SVG (needs matplotlib)")
    parser.add_argument("--as-filled", action="store_true", help="do not restart Redis")
    asked = parser.parse_args()
    found = measured(asked.rounds, restart=not asked.as_filled)
    print(report(found))
    if asked.plot is not None:
        plot(found, asked.plot)


if __name__ == "__main__":
    main()
