"""How soon a message is with one who waits for it at another node."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.benchmarks.broker import cluster, hello, make_pipe, publishing
from tests.benchmarks.measure import Group, Ratio, Setting, Way
from tests.benchmarks.single import HELLO
from tests.benchmarks.wire import Line, request

PAUSE_SECONDS = 0.005  # before a message comes to one who waits, and between bare requests


def wake_up(urls: list[str], seconds: float, samples: list[float]) -> float:
    """Median milliseconds from a POST at one node to the answer of a wait at another."""
    writer, reader = Line(urls[0]), Line(urls[1])
    pipe = make_pipe(urls[0])
    raw = publishing(pipe)

    def once(turn: int) -> float:
        reader.send(request("GET", f"/restms/resource/{pipe}-{turn}"))
        time.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        writer.send(raw)
        reader.receive()
        arrived = time.perf_counter()
        writer.receive()
        return arrived - began

    try:
        return repeated(once, seconds, samples)
    finally:
        writer.close()
        reader.close()


def round_trip(url: str, seconds: float, samples: list[float]) -> float:
    """Median milliseconds of a bare request."""
    line = Line(url)

    def once(turn: int) -> float:
        time.sleep(PAUSE_SECONDS)
        began = time.perf_counter()
        line.ask(HELLO.requests[0])
        return time.perf_counter() - began

    try:
        return repeated(once, seconds, samples)
    finally:
        line.close()


def repeated(once: Callable[[int], float], seconds: float, samples: list[float]) -> float:
    """Repeat that for so long; return the median in milliseconds, and keep all."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not found:
        found.append(1000 * once(len(found) + 1))
    samples += found
    return sorted(found)[len(found) // 2]


@contextmanager
def open_wake_up(setting: Setting) -> Iterator[dict[str, Way]]:
    """Two nodes, and a bare server."""
    with cluster(2) as nodes, hello() as [bare]:
        wakes = setting.samples.setdefault("wake", [])
        trips = setting.samples.setdefault("trip", [])
        yield {
            "trip": Way(
                "bare Hypercorn: round trip",
                "ms",
                lambda: round_trip(bare, setting.seconds, trips),
            ),
            "wake": Way(
                "from the POST at one node to the answer of a wait at another",
                "ms",
                lambda: wake_up(nodes.urls, setting.seconds, wakes),
            ),
        }


WAKE_UP = Group(
    "wakeup",
    "How soon a message is there",
    open_wake_up,
    (Ratio("wake-up at another node, to a bare round trip", "wake", "trip", most=1.5),),
    guess=3,
)
