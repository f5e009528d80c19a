"""Requests that wait, in great numbers, each for a message of a pipe of its own."""

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks import bulk
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.wire import AnswerError, request
from tests.nodes import Cluster, Node

FEED = "crowd"
CALM_SECONDS = 0.2
CALM_SHARE = 0.4  # of a core: those who wait look again by themselves every few seconds
PATIENCE_SECONDS = 60.0


def make_crowd(nodes: Cluster, count: int) -> None:
    """Make so many pipes, joined to one feed."""
    with nodes.redis.client() as client:
        bulk.run_all(client, [bulk.feed(FEED, "fanout")])
        bulk.run_all(client, bulk.pipes(count))
        bulk.run_all(client, (bulk.join(n, bulk.secret(n), FEED) for n in range(1, count + 1)))


def await_parked(nodes: Cluster, clients: Clients, count: int) -> None:
    """Return when so many pipes are watched, and the nodes have nothing more to do for it.

    AnswerError if somebody is answered, or if it takes too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    client: Any
    with nodes.redis.client() as client:
        while len(client.pubsub_channels("*:pipe:*")) < count:
            if time.monotonic() > deadline:
                raise AnswerError(f"{count} requests do not wait after {PATIENCE_SECONDS:.0f} s")
            clients.look()
            time.sleep(0.02)
    await_calm(nodes)


def await_calm(nodes: Cluster) -> None:
    """Return when the nodes have nothing more to do; AnswerError if that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(busy > CALM_SHARE for busy in _busy(nodes.nodes)):
        if time.monotonic() > deadline:
            raise AnswerError("the nodes do not come to rest")


def _busy(nodes: list[Node]) -> list[float]:
    """The share of a core that each node takes, for a moment."""
    before = [cpu_seconds(node.process.pid) for node in nodes]
    time.sleep(CALM_SECONDS)
    after = [cpu_seconds(node.process.pid) for node in nodes]
    return [(b - a) / CALM_SECONDS for a, b in zip(before, after, strict=True)]


def cpu_seconds(pid: int) -> float:
    """The processor's time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def memory(pid: int) -> int:
    """The bytes that are a process's own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Private_Dirty in smaps_rollup")


def raise_file_limit() -> None:
    """Let this process, and those that it starts, have as many connections as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def parked(nodes: Cluster, conversations: Sequence[Conversation]) -> Iterator[Clients]:
    """Have conversations that begin with a wait, at the nodes in turn; yield when all wait."""
    with Clients(nodes.urls, len(conversations)) as clients:
        clients.begin(conversations)
        await_parked(nodes, clients, len(conversations))
        yield clients
    await_calm(nodes)


def waits(count: int) -> list[Conversation]:
    """Waits for the first message of each pipe."""
    return [wait(number, 1, []) for number in range(1, count + 1)]


def wait(number: int, turn: int, arrived: list[float]) -> Conversation:
    """Wait for a message of a pipe that `bulk` made; tell when it came."""
    answer = yield request("GET", f"/restms/resource/p{bulk.secret(number)}-{turn}")
    if not answer:
        raise AnswerError("a wait ended before its message came")
    arrived.append(time.perf_counter())
