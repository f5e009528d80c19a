"""The page /metrics: what the node counts, as Prometheus reads it.

The numbers are taken in one step on the loop; writing them takes milliseconds and is done in a
thread, for messages go on meanwhile.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import trio
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from restms_node.exchange import NO_STORE, Answer
from restms_node.metrics_snapshot import Snapshot, Value
from restms_node.metrics_table import FAMILIES, Family

PATH = "/metrics"
WRITERS = 1  # threads; who asks meanwhile waits

Source: TypeAlias = Callable[[], Awaitable[Snapshot]]


class Page:
    """Answers /metrics."""

    def __init__(self, source: Source) -> None:
        """`source` returns what is to be told; it may raise a RestMSError."""
        self._source = source
        self._limiter = trio.CapacityLimiter(WRITERS)

    async def answer(self, accept: str | None) -> Answer:
        """Answer a GET, in the text format or in OpenMetrics, whichever is accepted."""
        snapshot = await self._source()
        body, media_type = await trio.to_thread.run_sync(
            written, snapshot, accept or "", limiter=self._limiter
        )
        return Answer(200, (("Content-Type", media_type), NO_STORE), body)


def written(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """Return a snapshot in the format that Accept asks for, and that format's media type."""
    encode, media_type = choose_encoder(accept)
    return encode(_Collected(snapshot)), media_type


class _Collected(Collector):
    """A snapshot, as the library's encoders go through it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that there are values of."""
        for family in FAMILIES:
            values = self._snapshot.get(family.name)
            if values:
                yield _metric(family, values)


def _metric(family: Family, values: dict[tuple[str, ...], Value]) -> Metric:
    metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
    for labels, value in sorted(values.items()):
        named = dict(zip(family.labels, labels, strict=True))
        if isinstance(value, list):
            _add_histogram(metric, family, named, value)
        else:
            metric.add_sample(family.name, named, value)
    return metric


def _add_histogram(
    metric: Metric, family: Family, named: dict[str, str], value: list[float]
) -> None:
    *numbers, total = value
    count = 0.0
    for bound, number in zip((*map(str, family.bounds), "+Inf"), numbers, strict=True):
        count += number
        metric.add_sample(f"{family.name}_bucket", {**named, "le": bound}, count)
    metric.add_sample(f"{family.name}_count", named, count)
    metric.add_sample(f"{family.name}_sum", named, total)
