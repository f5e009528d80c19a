"""What requests that wait cost: to park, while nothing comes, and when their message comes."""

import time
from collections.abc import Iterator
from contextlib import closing

from tests.benchmarks import bulk
from tests.benchmarks.broker import TEXT, cluster
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.parking import await_calm, await_parked, memory, raise_file_limit, wait
from tests.benchmarks.scaling.meter import Meter
from tests.benchmarks.scaling.samples import Sample
from tests.benchmarks.wire import Line, request

COUNT = 2000
REREAD_SECONDS = 2
IDLE_SECONDS = 4.0


def posts(count: int, number: int, step: int) -> Conversation:
    """Post one message to each of so many pipes, from that one on."""
    for each in range(number, count + 1, step):
        name = f"p{bulk.secret(each)}"
        body = f'<restms><message address="{name}"><content>{TEXT}</content></message></restms>'
        yield request("POST", "/restms/feed/default", body.encode())


def samples(count: int = COUNT, writers: int = 16) -> Iterator[Sample]:
    """Measure waits at one node, whose messages come in at another one."""
    raise_file_limit()
    with (
        cluster(2, "--reread-seconds", str(REREAD_SECONDS)) as nodes,
        closing(Meter(nodes)) as meter,
    ):
        with nodes.redis.client() as client:
            bulk.run_all(client, bulk.pipes(count))
        publisher, reader = nodes.urls
        with closing(Line(reader)) as line:  # what the first request brings in is no wait's
            line.ask(request("GET", "/restms/domain/default"))
        pid = nodes.nodes[1].process.pid
        held, before = memory(pid), meter.read()
        arrived: list[float] = []
        with Clients(reader, count) as waiting, Clients(publisher, writers) as writing:
            waiting.begin([wait(number, 1, arrived) for number in range(1, count + 1)])
            await_parked(nodes, waiting, count)
            parked = meter.read()
            yield Sample("park", 1, count, 1, {"wait": count}, parked - before)
            time.sleep(IDLE_SECONDS)
            idle = meter.read()
            rereads = IDLE_SECONDS / REREAD_SECONDS * count
            yield Sample("idle", 1, count, 1, {"reread": rereads}, idle - parked)
            found = {"node": (memory(pid) - held) / count, "redis": (idle - before).memory / count}
            yield Sample("memory", 1, count, 1, found, idle - before)
            start = meter.read()
            writing.run([posts(count, number, writers) for number in range(1, writers + 1)])
            waiting.finish()
            yield Sample(
                "wake", 2, writers, 1, {"publish": count, "wake": count}, meter.read() - start
            )
        await_calm(nodes)
