"""What the measurements share: a broker in this process, and publishers who remember."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from restms_cluster import joins, member, messages, pipes
from restms_cluster.address import Address
from restms_cluster.broker import Broker
from restms_cluster.errors import UnavailableError
from restms_cluster.levels import Durability
from restms_cluster.model import ConfiguredDomain, ConfiguredFeed, Draft, Embedded, Limits, Pipe
from restms_cluster.names import FeedName

FEED = FeedName("default", "measured")
DOMAINS = (
    ConfiguredDomain(
        "default", "", (ConfiguredFeed("default"), ConfiguredFeed("measured", "fanout"))
    ),
)
TEXT = "x" * 100


@asynccontextmanager
async def joined(url: str, durability: Durability | None = None) -> AsyncIterator[Broker]:
    """Join the cluster at a Redis, for the time of a block."""
    async with trio.open_nursery() as nursery:
        run = partial(
            member.run,
            Address.parse(url),
            DOMAINS,
            Limits(messages_per_pipe=10_000_000),
            sweep_seconds=60,
            timeout_seconds=5,
            durability=durability,
        )
        yield await nursery.start(run)
        nursery.cancel_scope.cancel()


async def reader(broker: Broker) -> Pipe:
    """Make a pipe that gets every message."""
    pipe = await pipes.create(broker, "default", "")
    await joins.create(broker, pipe.token, FEED, "", "", ())
    return pipe


@dataclass
class Publishers:
    """So many who publish, each as soon as its last message is in; and what was acknowledged."""

    broker: Broker
    count: int
    sent: list[tuple[str, float, float]] = field(default_factory=list)
    failed: int = 0
    _next: int = 0

    async def run(self, seconds: float) -> None:
        """Publish for that time, or until this is cancelled."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(self.count):
                    nursery.start_soon(self._publish)

    async def _publish(self) -> None:
        while True:
            self._next += 1
            name = str(self._next)
            draft = Draft({"message_id": name}, (), (Embedded("text/plain", TEXT),))
            began = time.time()
            try:
                await messages.publish(self.broker, FEED, [draft])
            except UnavailableError:
                self.failed += 1
                await trio.sleep(0.001)
            else:
                self.sent.append((name, began, time.time()))
