"""Messages in thousands: published, and moved from one node to another, beside the ceiling."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.broker import (
    BATCH,
    acknowledging,
    cluster,
    delete_pipe,
    last_number,
    make_pipe,
    publishing,
    reading,
)
from tests.benchmarks.ceiling import Ceiling
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.measure import Group, Ratio, Setting, Way
from tests.benchmarks.wire import CBOR, JSON, XML

WRITERS = 4  # connections that post batches
PUBLISHER = 2  # connections of the one publisher end to end
FEWEST = 10  # batches, end to end
SIZES = (1, 10, 100, 1000)
KINDS = {"XML": XML, "JSON": JSON, "CBOR": CBOR}


def publish(url: str, seconds: float, raw: bytes, count: int = BATCH) -> float:
    """Return how many messages a second get in, so many in a request."""
    done = 0

    def writer(end: float) -> Conversation:
        nonlocal done
        while time.perf_counter() < end:
            yield raw
            done += count

    with Clients(url, WRITERS) as clients:
        began = time.perf_counter()
        clients.run([writer(began + seconds) for _ in range(WRITERS)])
        return done / (time.perf_counter() - began)


def publish_batches(url: str, raw: bytes, batches: int) -> None:
    """Post so many batches."""
    left = iter(range(batches))

    def writer() -> Conversation:
        for _ in left:
            yield raw

    with Clients(url, WRITERS) as clients:
        clients.run([writer() for _ in range(WRITERS)])


def publish_to_new_pipe(url: str, seconds: float, count: int, kind: str) -> float:
    pipe = make_pipe(url)
    found = publish(url, seconds, publishing(pipe, count, kind), count)
    delete_pipe(url, pipe)
    return found


def move(urls: list[str], batches: int) -> float:
    """Post to one node, read and acknowledge at the other; return messages a second.

    Both go on at the same time. The time is that from the first POST until all
    are acknowledged.
    """
    pipe = make_pipe(urls[0])
    raw = publishing(pipe, BATCH, CBOR)
    left = iter(range(batches))

    def publisher() -> Conversation:
        for _ in left:
            yield raw

    def reader() -> Conversation:
        answer = yield reading(pipe)
        while (number := last_number(pipe, answer)) < batches * BATCH:
            yield acknowledging(pipe, number) + reading(pipe)
            answer = yield b""
        yield acknowledging(pipe, number)

    order = [urls[1], *[urls[0]] * PUBLISHER]
    with Clients(order, len(order)) as clients:
        began = time.perf_counter()
        clients.run([reader(), *[publisher() for _ in range(PUBLISHER)]])
        elapsed = time.perf_counter() - began
    delete_pipe(urls[0], pipe)
    return batches * BATCH / elapsed


class EndToEnd:
    """As many batches as take about the time that is given, by the pace of the time before."""

    def __init__(self, urls: list[str], seconds: float) -> None:
        self._urls = urls
        self._seconds = seconds
        self._pace = 0.0

    def measure(self) -> float:
        batches = max(FEWEST, round(self._pace * self._seconds / BATCH))
        self._pace = move(self._urls, batches)
        return self._pace


@contextmanager
def open_volume(setting: Setting) -> Iterator[dict[str, Way]]:
    """Two nodes."""
    with cluster(2) as nodes:
        ceiling = Ceiling(nodes.redis)
        url, seconds = nodes.urls[0], setting.seconds
        yield {
            "each": Way(
                "ceiling: XADD by the barest script, one in a call",
                "entries/s",
                lambda: ceiling.each(seconds),
            ),
            "thousands": Way(
                "ceiling: XADD by the barest script, 1,000 in a call",
                "entries/s",
                lambda: ceiling.thousands(seconds),
            ),
            "batch": Way(
                "publish, CBOR, 1,000 in a request",
                "messages/s",
                lambda: publish_to_new_pipe(url, seconds, BATCH, CBOR),
            ),
            "end to end": Way(
                "end to end, 1,000 in a request, acknowledged at another node",
                "messages/s",
                EndToEnd(nodes.urls, seconds).measure,
            ),
        }


@contextmanager
def open_sizes(setting: Setting) -> Iterator[dict[str, Way]]:
    """One node."""
    with cluster(1) as nodes:
        [url] = nodes.urls

        def way(name: str, count: int) -> Way:
            return Way(
                f"publish, {name}, {count:,} in a request",
                "messages/s",
                lambda: publish_to_new_pipe(url, setting.seconds / 2, count, KINDS[name]),
            )

        yield {f"{name} {count}": way(name, count) for name in KINDS for count in SIZES}


VOLUME = Group(
    "volume",
    "Messages in thousands, beside what Redis can do",
    open_volume,
    (
        Ratio("batch publish, to the ceiling, one XADD in a call", "batch", "each", least=0.7),
        Ratio("batch publish, to the ceiling, 1,000 XADDs in a call", "batch", "thousands"),
        Ratio("end to end, to the ceiling, one XADD in a call", "end to end", "each", least=0.5),
        Ratio("end to end, to the ceiling, 1,000 XADDs in a call", "end to end", "thousands"),
    ),
    guess=5,
)
SIZE = Group(
    "sizes",
    "Publishing by messages in a request, and by media type",
    open_sizes,
    rounds=3,
    guess=8,
)
