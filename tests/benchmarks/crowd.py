"""Ten thousand who wait: what one message for all of them takes, and what their waiting takes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from tests.benchmarks.broker import TEXT, cluster, hello, make_pipe
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.load import CONNECTIONS
from tests.benchmarks.measure import Group, Ratio, Setting, Way
from tests.benchmarks.parking import (
    FEED,
    make_crowd,
    memory,
    parked,
    raise_file_limit,
    wait,
    waits,
)
from tests.benchmarks.single import HELLO
from tests.benchmarks.wire import Line, request
from tests.nodes import Cluster

CROWD = 10_000
MESSAGE = f"<restms><message><content>{TEXT}</content></message></restms>"
POST = request("POST", f"/restms/feed/{FEED}", MESSAGE.encode())


class Crowd:
    """Ten thousand connections to two nodes, each waiting for a message of its own pipe."""

    def __init__(self, nodes: Cluster, count: int, times: list[float]) -> None:
        self._nodes = nodes
        self._count = count
        self._times = times
        self._turn = 0
        make_crowd(nodes, count)

    def measure(self) -> float:
        """Answers a second from the POST of one message until the last has it."""
        self._turn += 1
        arrived: list[float] = []
        crowd = [wait(number, self._turn, arrived) for number in range(1, self._count + 1)]
        with parked(self._nodes, crowd) as clients, closing(Line(self._nodes.urls[0])) as line:
            posted = time.perf_counter()
            line.send(POST)
            clients.finish()
            line.receive()
        self._times[:] = [at - posted for at in arrived]
        return self._count / (arrived[-1] - posted)


def both(urls: list[str], seconds: float) -> float:
    """Requests a second of two bare servers together."""
    done = 0

    def ask(end: float) -> Conversation:
        nonlocal done
        while time.perf_counter() < end:
            yield HELLO.requests[0]
            done += 1

    with Clients(urls, 2 * CONNECTIONS) as clients:
        began = time.perf_counter()
        clients.run([ask(began + seconds) for _ in range(2 * CONNECTIONS)])
        return done / (time.perf_counter() - began)


@contextmanager
def open_crowd(setting: Setting) -> Iterator[dict[str, Way]]:
    """Two nodes with everybody connected, and two bare servers."""
    raise_file_limit()
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(2))
        bare = stack.enter_context(hello(2))
        crowd = Crowd(nodes, CROWD, setting.samples.setdefault("crowd", []))
        yield {
            "bare": Way("two bare Hypercorns", "requests/s", lambda: both(bare, setting.seconds)),
            "crowd": Way(
                f"one message to {CROWD:,} who wait at two nodes", "answers/s", crowd.measure
            ),
        }


def memory_of_a_wait(count: int) -> float:
    """Kilobytes of a node for each request that waits, with its connection."""
    with cluster(1) as nodes:
        make_crowd(nodes, count)
        [node] = nodes.nodes
        make_pipe(node.url)  # what the first request of all brings in is none of theirs
        before = memory(node.process.pid)
        with parked(nodes, waits(count)):
            return (memory(node.process.pid) - before) / count / 1024


@contextmanager
def open_memory(setting: Setting) -> Iterator[dict[str, Way]]:
    """A new node for each round."""
    raise_file_limit()
    yield {"memory": Way("a request that waits", "KB", lambda: memory_of_a_wait(CROWD))}


CROWDS = Group(
    "crowd",
    "One message for ten thousand who wait",
    open_crowd,
    (
        Ratio(
            f"answers to {CROWD:,} who wait, to requests of two bare servers",
            "crowd",
            "bare",
            least=3,
        ),
    ),
    rounds=5,
    guess=8,
)
MEMORY = Group(
    "memory",
    "What waiting takes",
    open_memory,
    (Ratio("memory of a request that waits, KB", "memory", most=15),),
    rounds=3,
    guess=10,
)
