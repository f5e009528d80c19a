"""A snapshot: what one node, or one worker, counts at a moment; and how several are one.

It has no library's objects in it, so a worker can send it to another process as JSON.
"""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from prometheus_client import ProcessCollector

from restms_cluster.counts import Durations
from restms_cluster.subscriber import NOTIFICATION, PUBLISH, SWEEP
from restms_node.metrics_table import FAMILIES, MESSAGES, Family, Join, Kind
from restms_node.node import Node
from restms_node.streams import KINDS
from restms_node.version import VERSION
from restms_node.waiting import OUTCOMES

Labels: TypeAlias = tuple[str, ...]
Value: TypeAlias = float | list[float]
"""A number; of a histogram, how many there were in each bucket, and last their sum."""

Snapshot: TypeAlias = dict[str, dict[Labels, Value]]
"""By the name of a metric, and the values of its labels."""

_FAMILIES: Mapping[str, Family] = {family.name: family for family in FAMILIES}
_PROCESS = ProcessCollector(registry=None)


def taken(node: Node) -> Snapshot:
    """Return what a node counts now."""
    return {
        **_of_messages(node),
        **_of_sweeping(node),
        **_of_waits(node),
        **_of_traffic(node),
        **_of_redis(node),
        "restms_build_info": {(VERSION, platform.python_version()): 1},
        **{
            sample.name: {(): sample.value}
            for metric in _PROCESS.collect()
            for sample in metric.samples
        },
    }


async def alone(node: Node) -> Snapshot:
    """Return what a node counts that is one process: the source of its page."""
    return taken(node)


def _of_messages(node: Node) -> Snapshot:
    counts = {name: node.broker.counts.messages[name] for name in node.broker.domains}
    found: Snapshot = {
        f"restms_messages_{what}_total": {
            (domain,): getattr(messages, what) for domain, messages in counts.items()
        }
        for what in MESSAGES
    }
    found["restms_delayed_lateness_seconds"] = {
        (domain,): _told(messages.lateness) for domain, messages in counts.items()
    }
    return found


def _of_sweeping(node: Node) -> Snapshot:
    swept = list(node.broker.counts.swept())
    held = [((domain,), one.holding) for domain, one in swept if one.holding is not None]
    return {
        "restms_swept_timestamp_seconds": {(domain,): one.at for domain, one in swept},
        "restms_messages_stored": {labels: one.messages for labels, one in held},
        "restms_oldest_message_seconds": {labels: one.oldest for labels, one in held},
        "restms_pipes": {labels: one.pipes for labels, one in held},
    }


def _of_waits(node: Node) -> Snapshot:
    waits = node.waits
    return {
        "restms_waits": {(): waits.parked},
        "restms_waits_limit": {(): waits.most},
        "restms_waits_ended_total": {(name,): waits.ends[name] for name in OUTCOMES},
        "restms_wakeups_total": {
            (name,): waits.wakeups[name] for name in (NOTIFICATION, PUBLISH, SWEEP)
        },
        "restms_streams": {(name,): waits.streams[name] for name in (*KINDS.values(), "websocket")},
        "restms_draining": {(): int(waits.draining)},
    }


def _of_traffic(node: Node) -> Snapshot:
    traffic = node.traffic
    return {
        "restms_requests_total": {
            (route, method, str(status)): answers.number
            for (route, method, status), answers in traffic.answers.items()
        },
        "restms_request_duration_seconds": {
            labels: _told(durations)
            for labels, durations in traffic.durations.items()
            if any(durations.numbers)
        },
        "restms_wait_duration_seconds": {(): _told(traffic.waits)},
        "restms_refusals_total": {(word,): count for word, count in traffic.refusals.items()},
    }


def _of_redis(node: Node) -> Snapshot:
    counts, shards = node.broker.counts, list(node.broker.shards)
    reconnects: dict[Labels, Value] = {(str(shard.address),): 0 for shard in shards}
    reconnects.update(((server,), count) for server, count in counts.reconnects.items())
    return {
        "restms_script_duration_seconds": {
            (stub.script(),): _told(durations) for stub, durations in counts.scripts.items()
        },
        "restms_redis_connected": {
            (str(shard.address),): int(shard.connection.connected and shard.notifications.connected)
            for shard in shards
        },
        "restms_redis_reconnects_total": reconnects,
    }


def _told(durations: Durations) -> list[float]:
    return [*durations.numbers, durations.sum]


def joined(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return what several workers' snapshots come to."""
    found: Snapshot = {}
    for snapshot in snapshots:
        for name, values in snapshot.items():
            known = found.setdefault(name, {})
            for labels, value in values.items():
                before = known.get(labels)
                known[labels] = value if before is None else _join(name, before, value)
    return found


def _join(name: str, one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    assert isinstance(one, int | float)  # noqa: S101, a metric is of one kind
    assert isinstance(other, int | float)  # noqa: S101
    match _FAMILIES[name].join:
        case Join.LEAST:
            return min(one, other)
        case Join.MOST:
            return max(one, other)
        case Join.SUM:
            return one + other


def lasting(snapshot: Snapshot) -> Snapshot:
    """Return what still counts when its process has ended."""
    return {
        name: values for name, values in snapshot.items() if _FAMILIES[name].kind is not Kind.GAUGE
    }


def packed(snapshot: Snapshot) -> bytes:
    """Return a snapshot as one line."""
    plain = {name: list(values.items()) for name, values in snapshot.items()}
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def unpacked(line: bytes) -> Snapshot:
    """Return the snapshot that a line holds, as far as this version knows what is in it.

    It may be another version's: of a worker that was renewed since that was installed.
    """
    found: Snapshot = {}
    for name, values in json.loads(line).items():
        family = _FAMILIES.get(name)
        if family is not None:
            found[name] = {
                tuple(labels): value for labels, value in values if _is_of(family, labels, value)
            }
    return found


def _is_of(family: Family, labels: Sequence[str], value: Value) -> bool:
    if len(labels) != len(family.labels):
        return False
    if family.kind is Kind.HISTOGRAM:
        # A number for each bound, for what is beyond, and the sum.
        return isinstance(value, list) and len(value) == len(family.bounds) + 2
    return isinstance(value, int | float)
