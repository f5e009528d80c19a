"""Whether a broker that holds much is slower: a deep backlog, and many who wait elsewhere."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.benchmarks.broker import (
    BATCH,
    acknowledging,
    cluster,
    last_number,
    make_pipe,
    publishing,
    reading,
)
from tests.benchmarks.measure import Group, Ratio, Setting, Way
from tests.benchmarks.parking import make_crowd, parked, raise_file_limit, waits
from tests.benchmarks.single import post
from tests.benchmarks.volume import publish_batches
from tests.benchmarks.wire import CBOR, Line
from tests.nodes import Cluster

DEEP = 1_000_000
SHALLOW = BATCH
ELSEWHERE = 1_000


class Backlog:
    """A pipe that always has so many messages in it when it is read."""

    def __init__(self, url: str, messages: int) -> None:
        self._url = url
        self._pipe = make_pipe(url)
        self._more = publishing(self._pipe, BATCH, CBOR)
        self._held = messages - BATCH
        # The last thousand is put in before each reading.
        publish_batches(url, self._more, self._held // BATCH)

    def read(self, seconds: float) -> float:
        """Messages a second, read and acknowledged by thousands; putting more in is not timed."""
        took, done = 0.0, 0
        with closing(Line(self._url)) as line:
            while took < seconds:
                line.ask(self._more)
                began = time.perf_counter()
                number = last_number(self._pipe, line.ask(reading(self._pipe)))
                line.ask(acknowledging(self._pipe, number))
                took += time.perf_counter() - began
                done += BATCH
        return done / took

    def take(self, seconds: float) -> float:
        """Messages a second, read and acknowledged with nothing put in, while there are any."""
        done, began = 0, time.perf_counter()
        with closing(Line(self._url)) as line:
            while time.perf_counter() < began + seconds and done < self._held:
                number = last_number(self._pipe, line.ask(reading(self._pipe)))
                line.ask(acknowledging(self._pipe, number))
                done += BATCH
        return done / (time.perf_counter() - began)


@contextmanager
def open_backlog(setting: Setting) -> Iterator[dict[str, Way]]:
    """One node, and two pipes."""
    with cluster(1) as nodes:
        [url] = nodes.urls
        deep, shallow = Backlog(url, DEEP), Backlog(url, SHALLOW)
        yield {
            "shallow": Way(
                f"batch read of a backlog of {SHALLOW:,}",
                "messages/s",
                lambda: shallow.read(setting.seconds),
            ),
            "deep": Way(
                f"batch read of a backlog of {DEEP:,}",
                "messages/s",
                lambda: deep.read(setting.seconds),
            ),
        }


def post_beside(nodes: Cluster, seconds: float) -> float:
    """Messages a second, one in a request, while many wait at both nodes for others."""
    with parked(nodes, waits(ELSEWHERE)):
        return post(nodes.urls[0], seconds)


@contextmanager
def open_elsewhere(setting: Setting) -> Iterator[dict[str, Way]]:
    """Two nodes."""
    raise_file_limit()
    with cluster(2) as nodes:
        make_crowd(nodes, ELSEWHERE)
        yield {
            "alone": Way(
                "POST of one message, nobody waiting",
                "messages/s",
                lambda: post(nodes.urls[0], setting.seconds),
            ),
            "beside": Way(
                f"POST of one message, {ELSEWHERE:,} pipes waiting elsewhere",
                "messages/s",
                lambda: post_beside(nodes, setting.seconds),
            ),
        }


BACKLOG = Group(
    "backlog",
    "Reading from a deep pipe",
    open_backlog,
    (
        Ratio(
            f"batch read of a backlog of {DEEP:,}, to one of {SHALLOW:,}",
            "deep",
            "shallow",
            least=0.9,
        ),
    ),
    guess=8,
)
ELSEWHERES = Group(
    "elsewhere",
    "Publishing while others wait",
    open_elsewhere,
    (
        Ratio(
            f"POST with {ELSEWHERE:,} pipes waiting elsewhere, to none waiting",
            "beside",
            "alone",
            least=0.9,
        ),
    ),
    guess=4,
)
