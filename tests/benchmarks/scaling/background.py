"""What nodes cost Redis that nobody asks anything: members of the cluster, many in one process."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import trio

from restms_cluster import member
from restms_cluster.address import Address
from restms_cluster.model import ConfiguredDomain, ConfiguredFeed, Limits
from tests.benchmarks.broker import REDIS
from tests.benchmarks.scaling.meter import Reading, reading
from tests.benchmarks.scaling.samples import Sample
from tests.servers import Server, start_server

SIZES = ((1, 1), (1, 20), (5, 20), (20, 1), (20, 20))
SETTLE_SECONDS = member.CHECK_SECONDS + 2  # until nodes know how many they are
SECONDS = 2.0 * member.CHECK_SECONDS


def samples(sizes: tuple[tuple[int, int], ...] = SIZES) -> Iterator[Sample]:
    """Measure so many nodes with so many domains that rest."""
    for nodes, domains in sizes:
        with (
            tempfile.TemporaryDirectory() as directory,
            closing(start_server(Path(directory), *REDIS)) as server,
        ):
            took = trio.run(_rest, server, nodes, domains)
        done = {"node": nodes * SECONDS, "place": nodes * domains * SECONDS}
        yield Sample("background", nodes, 0, domains, done, took)


async def _rest(server: Server, nodes: int, domains: int) -> Reading:
    configured = [
        ConfiguredDomain(f"d{number}", "", (ConfiguredFeed("default", "", ""),))
        for number in range(domains)
    ]
    join = partial(
        member.run,
        Address.parse(server.url),
        configured,
        Limits(),
        sweep_seconds=5,
        timeout_seconds=10,
    )
    client: Any
    async with trio.open_nursery() as nursery:
        for _ in range(nodes):
            await nursery.start(join)
        with server.client() as client:
            await trio.sleep(SETTLE_SECONDS)
            before = reading(client)
            await trio.sleep(SECONDS)
            took = reading(client) - before
        nursery.cancel_scope.cancel()
    return took
