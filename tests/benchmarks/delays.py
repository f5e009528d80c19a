"""How late delayed messages are, beside timers that do nothing but sleep.

    python -m tests.benchmarks.delays [rounds]

In a round, 2,000 messages for times spread over four seconds are posted through two
nodes, some to each; as many tasks of Trio sleep until the same times. Then the
same again, and half way one of the nodes is killed (each in turn). A message's time of
arrival is what its entry in the pipe says, by Redis's clock.
"""

import random
import statistics
import sys
import time
from datetime import UTC, datetime
from typing import Any

import redis
import trio

from tests.benchmarks import bulk
from tests.benchmarks.wire import Wire
from tests.nodes import Cluster, Node

ROUNDS = 4
MESSAGES = 2000
BATCH = 100
AHEAD_SECONDS = 2.0  # for posting them all
SPREAD_SECONDS = 4.0
PATIENCE_SECONDS = 5.0
FEED = "later"


def document(due: dict[int, float], numbers: range) -> bytes:
    """Messages for their times, which have whole milliseconds."""
    messages = []
    for number in numbers:
        at = datetime.fromtimestamp(due[number], UTC).isoformat(timespec="milliseconds")
        messages.append(
            f'<message message_id="{number}" deliver_at="{at}"><content>x</content></message>'
        )
    return f"<restms>{''.join(messages)}</restms>".encode()


def arrivals(client: "redis.Redis[bytes]") -> dict[int, list[float]]:
    """When each message came into the pipe, in seconds since the epoch."""
    found: dict[int, list[float]] = {}
    entries: Any = client.xrange(f"{bulk.pipe_key(1)}:messages")
    for entry, fields in entries:
        found.setdefault(int(fields[b"i"]), []).append(int(entry.partition(b"-")[2]) / 1e6)
    return found


async def deliver(
    cluster: Cluster, client: "redis.Redis[bytes]", victim: Node | None
) -> tuple[list[float], list[float]]:
    """Return the seconds by which the messages were late, and the timers."""
    begin = time.time() + AHEAD_SECONDS
    due = {number: round(begin + random.random() * SPREAD_SECONDS, 3) for number in range(MESSAGES)}
    timers: list[float] = []

    async def sleeper(at: float) -> None:
        await trio.sleep(at - time.time())
        timers.append(time.time() - at)

    async def kill(node: Node) -> None:
        await trio.sleep(begin + SPREAD_SECONDS / 2 - time.time())
        node.process.kill()

    async with trio.open_nursery() as nursery:
        for at in due.values():
            nursery.start_soon(sleeper, at)
        wires = [await Wire.to(url) for url in cluster.urls]
        for first in range(0, MESSAGES, BATCH):
            wire = wires[first // BATCH % len(wires)]
            await wire.send(
                "POST", f"/restms/feed/{FEED}", document(due, range(first, first + BATCH))
            )
        assert time.time() < begin, "too slow to post them before they are due"
        if victim is not None:
            nursery.start_soon(kill, victim)
    deadline = time.time() + PATIENCE_SECONDS
    while len(found := arrivals(client)) < MESSAGES and time.time() < deadline:
        await trio.sleep(0.1)
    assert set(found) == set(due), "a message is missing"
    assert all(len(times) == 1 for times in found.values()), "a message came twice"
    late = [found[number][0] - at for number, at in due.items()]
    assert min(late) > -0.001, "a message came before its time"
    return late, timers


def in_cluster(kill: int | None) -> tuple[list[float], list[float]]:
    """Do one round on a new cluster; `kill` is the place of the node to be killed."""
    with Cluster(2) as cluster, cluster.redis.client() as client:
        bulk.run_all(client, [bulk.feed(FEED, "fanout"), *bulk.pipes(1)])
        bulk.run_all(client, [bulk.join(1, bulk.secret(1), FEED)])
        victim = None if kill is None else cluster.nodes[kill]
        return trio.run(deliver, cluster, client, victim)


def row(text: str, late: list[float], yardstick: list[float]) -> str:
    """A line of milliseconds, and their ratios to the timers."""

    def spread(seconds: list[float]) -> tuple[float, float, float]:
        took = sorted(1000 * each for each in seconds)
        return statistics.median(took), took[int(0.99 * (len(took) - 1))], took[-1]

    cells = (
        f"{a:10.2f} ms (x{a / b:5.1f})"
        for a, b in zip(spread(late), spread(yardstick), strict=True)
    )
    return f"{text:>32}{''.join(cells)}"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for text, victim in (("two nodes", None), ("one of them killed", number % 2)):
            print(f"round {number + 1} of {rounds}: {text}", file=sys.stderr)
            late, timers = in_cluster(victim)
            found.setdefault(text, []).extend(late)
            found.setdefault(f"{text}: timers", []).extend(timers)
    print(f"{'':>32}{'median':>22}{'p99':>22}{'worst':>22}")
    for text in ("two nodes", "one of them killed"):
        timers = found[f"{text}: timers"]
        print(row(f"{text}: bare timers", timers, timers))
        print(row(f"{text}: messages", found[text], timers))


if __name__ == "__main__":
    main()
