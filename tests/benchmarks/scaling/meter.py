"""What the nodes and Redis have worked: their processor time.

How many requests a second are answered tells of the machine and its hour. How much of a
processor each of them took tells of us, also where two cores are shared with others.
"""

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Self

from tests.nodes import Cluster

PROCESS_CLOCK = 2  # of Linux's clock numbers: the processor time of a process, all its threads


@dataclass(frozen=True)
class Reading:
    """Totals since the processes began. Seconds are of a processor, but `elapsed` is a clock's.

    `calls` are scripts that ran, `reads` are Redis's of a socket, `cycles` the turns of its
    loop; `sent` and `received` are Redis's bytes, `memory` what its data takes.
    """

    nodes: float
    redis: float
    script: float
    calls: float
    reads: float
    cycles: float
    received: float
    sent: float
    memory: float
    elapsed: float

    def __sub__(self, before: Self) -> "Reading":
        return Reading(*(a - b for a, b in zip(astuple(self), astuple(before), strict=True)))


class Meter:
    """Reads what nodes on one Redis have worked so far."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._client: Any = cluster.redis.client()

    def read(self) -> Reading:
        return reading(self._client, [node.process.pid for node in self._cluster.nodes])

    def close(self) -> None:
        self._client.close()


def reading(client: Any, pids: Sequence[int] = ()) -> Reading:
    """Read what those processes, and the server that a client is connected to, have worked."""
    info = client.info("everything")
    scripts = [info.get(f"cmdstat_{name}", {}) for name in ("evalsha", "eval")]
    return Reading(
        sum(processor_seconds(pid) for pid in pids),
        info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"],
        sum(one.get("usec", 0) for one in scripts) / 1e6,
        sum(one.get("calls", 0) for one in scripts),
        info["total_reads_processed"],
        info["eventloop_cycles"],
        info["total_net_input_bytes"],
        info["total_net_output_bytes"],
        info["used_memory"],
        time.monotonic(),
    )


def processor_seconds(pid: int) -> float:
    """The processor's time that a process has had, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | PROCESS_CLOCK)
