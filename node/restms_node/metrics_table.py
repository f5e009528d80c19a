"""The metrics: names, labels, what they mean, and what those of several workers come to.

`docs/operations.md` has the same table for people, and the tests hold the two together. Label
values are few and known: nothing that a client makes up, and no resource, is ever one.
"""

from dataclasses import dataclass
from enum import StrEnum

from restms_cluster.counts import LATENESS, ROUND_TRIPS
from restms_node.traffic import REQUESTS, WAITS


class Kind(StrEnum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Join(StrEnum):
    """What several workers' values come to."""

    SUM = "sum"
    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric. `bounds` are those of a histogram's buckets; without one it has none."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    join: Join = Join.SUM
    bounds: tuple[float, ...] = ()


def _counter(name: str, help: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, labels, help)


def _gauge(name: str, help: str, *labels: str, join: Join = Join.SUM) -> Family:
    return Family(name, Kind.GAUGE, labels, help, join)


def _histogram(name: str, bounds: tuple[float, ...], help: str, *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, labels, help, bounds=bounds)


MESSAGES = {
    "received": "Messages that were posted and accepted, repeats of a request among them.",
    "routed": "Copies of messages that came into pipes, or into the queues of feeds.",
    "unroutable": "Messages that were accepted and that no join wanted.",
    "delivered": "Messages that were given to readers, each time one is read.",
    "acknowledged": "Messages that left their pipe because a reader deleted them.",
    "redelivered": "Messages that came back to their feed from a pipe that was deleted.",
    "expired": "Messages whose time was over before somebody acknowledged them.",
    "dead_lettered": "Messages that went to a dead-letter feed.",
    "lost": "Messages that found no room, in no dead-letter feed either.",
}
"""What is counted of messages, by the names of `restms_cluster.counts.Messages`."""

FAMILIES = (
    *(_counter(f"restms_messages_{name}_total", help, "domain") for name, help in MESSAGES.items()),
    _gauge("restms_messages_stored", "Messages in pipes and feeds, from one node.", "domain"),
    _gauge(
        "restms_oldest_message_seconds",
        "Age of the oldest message that nobody has acknowledged, from one node.",
        "domain",
        join=Join.MOST,
    ),
    _gauge("restms_pipes", "Pipes, from one node.", "domain"),
    _gauge(
        "restms_swept_timestamp_seconds",
        "When the domain's housekeeping was done last, from one node.",
        "domain",
        join=Join.MOST,
    ),
    _histogram(
        "restms_delayed_lateness_seconds",
        LATENESS,
        "How much later than they were due delayed messages were routed.",
        "domain",
    ),
    _gauge("restms_waits", "Requests and streams that wait here now."),
    _gauge("restms_waits_limit", "Requests and streams that may wait here."),
    _counter("restms_waits_ended_total", "Waits and streams that ended, by how.", "outcome"),
    _counter(
        "restms_wakeups_total", "Times that somebody who waited looked again, by why.", "source"
    ),
    _gauge("restms_streams", "Streams and WebSockets that are open here now.", "kind"),
    _counter("restms_requests_total", "Requests that were answered.", "route", "method", "status"),
    _histogram(
        "restms_request_duration_seconds",
        REQUESTS,
        "Time from a request to its answer, where it did not wait.",
        "route",
        "method",
    ),
    _histogram(
        "restms_wait_duration_seconds",
        WAITS,
        "Time from a request to its answer, where it waited.",
    ),
    _counter("restms_refusals_total", "Requests that were refused, by RestMS-Error.", "reason"),
    _histogram(
        "restms_script_duration_seconds",
        ROUND_TRIPS,
        "Time until Redis had answered the call of a script.",
        "script",
    ),
    _gauge(
        "restms_redis_connected",
        "Whether the links to the server stand: 1 or 0.",
        "server",
        join=Join.LEAST,
    ),
    _counter(
        "restms_redis_reconnects_total",
        "Times that the link to the server was made anew.",
        "server",
    ),
    _gauge("restms_draining", "Whether the node drains: 1 or 0.", join=Join.LEAST),
    _gauge("restms_build_info", "What runs here; always 1.", "version", "python", join=Join.MOST),
    _counter("process_cpu_seconds_total", "Time of processors that was used, in seconds."),
    _gauge("process_virtual_memory_bytes", "Virtual memory in bytes."),
    _gauge("process_resident_memory_bytes", "Resident memory in bytes."),
    _gauge("process_start_time_seconds", "When the process started (Unix time).", join=Join.LEAST),
    _gauge("process_open_fds", "Files and sockets that are open."),
    _gauge("process_max_fds", "Files and sockets that may be open."),
)
"""In the order in which /metrics has them."""
