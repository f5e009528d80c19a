"""The setting: Redis, three nodes, HAProxy before them, and relays on all ways between."""

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis
import trio

from tests.chaos.balancer import Balancer
from tests.chaos.relay import Relay
from tests.nodes import Node
from tests.sentinels import Sentinels
from tests.servers import Server

NODES = (("--workers", "2"), ("--no-lane",), ())
"""The options of each node, beside those that all have."""

ALL = (
    *("--redis-timeout-seconds", "2"),
    *("--drain-delay-seconds", "1", "--drain-seconds", "5"),
    *("--trusted-proxies", "127.0.0.1"),
)
RESTART_SECONDS = 0.5
WHOLE_SECONDS = 20.0
LINE_CHARACTERS = 300


@dataclass(frozen=True)
class Kind:
    """A way to run Redis, with the level of the nodes.

    `crash` and `failover` tell whether such a thing may lose acknowledged messages.
    """

    name: str
    text: str
    fsync: str
    level: tuple[str, ...] = ()
    sentinel: bool = False
    crash: bool = False
    failover: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind("always", "one server, appendfsync always", "always", ("--durability", "disk")),
        Kind("everysec", "one server, appendfsync everysec", "everysec", crash=True),
        Kind(
            "sentinel",
            "a primary, two replicas, three Sentinels",
            "everysec",
            sentinel=True,
            failover=True,
        ),
        Kind(
            "sentinel-wait-1",
            "the same, and WAIT for one of the replicas",
            "everysec",
            ("--durability", "replicas", "--replicas", "1"),
            sentinel=True,
            failover=True,
        ),
        Kind(
            "sentinel-wait-2",
            "the same, and WAIT for both of the replicas",
            "everysec",
            ("--durability", "replicas", "--replicas", "2"),
            sentinel=True,
        ),
    )
}


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong with a node, or only with the balancer's way to it.

    `sure`: the node is certainly not ready while it lasts.
    """

    begun: float
    sure: bool
    way: bool


class Station:
    """A node, and the relays before and behind it."""

    def __init__(self, node: Node, number: int) -> None:
        self.node = node
        self.name = f"node {number}"
        self.redis: Relay
        self.http: Relay
        self.troubles: list[Trouble] = []
        self.mended = trio.current_time()

    @contextmanager
    def trouble(self, *, sure: bool, way: bool = False) -> Iterator[None]:
        """Say that something is wrong, for the time of a block."""
        trouble = Trouble(trio.current_time(), sure, way)
        self.troubles.append(trouble)
        try:
            yield
        finally:
            self.troubles.remove(trouble)
            self.mended = trio.current_time()

    def workers(self) -> list[int]:
        """Return the processes that the node's own one has started."""
        tasks = Path(f"/proc/{self.node.process.pid}/task").glob("*/children")
        with suppress(OSError):
            return [int(child) for task in tasks for child in task.read_text().split()]
        return []

    def signal(self, number: int, *processes: int) -> None:
        """Send a signal to some of the node's processes, or to all."""
        for process in processes or (*self.workers(), self.node.process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    async def kill(self) -> None:
        """End the node at once."""
        await trio.to_thread.run_sync(self.node.kill)

    async def drain(self) -> None:
        """Let the node end as an orchestrator does: it is killed where that takes too long."""
        with suppress(RuntimeError):
            await trio.to_thread.run_sync(self.node.terminate)

    async def start(self) -> None:
        """Start the node, again and again until it serves, as a supervisor does."""
        self.node.spawn()
        await self.started()

    async def started(self) -> None:
        """Wait until the node serves; start it again where it ended instead."""
        while True:
            try:
                await trio.to_thread.run_sync(self.node.await_url)
            except RuntimeError:  # no Redis, or the last one's workers have the port still
                await trio.sleep(RESTART_SECONDS)
                self.node.spawn()
            else:
                return


class Setting:
    """All that runs beside the clients."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.busy: set[str] = set()
        self.stations: list[Station] = []
        self.single: Server | None = None
        self.sentinels: Sentinels | None = None
        self.balancer: Balancer

    @property
    def address(self) -> tuple[str, int]:
        """Where clients go."""
        return ("127.0.0.1", self.balancer.port)

    @property
    def servers(self) -> list[Server]:
        return [self.single] if self.single else self.sentinels.servers if self.sentinels else []

    def primary(self) -> Server:
        """Return the server that is written to now."""
        if self.single is not None:
            return self.single
        assert self.sentinels is not None
        return self.sentinels.primary()

    def until_switched(self, before: Server) -> None:
        """Wait until the sentinels have another primary than that one."""
        assert self.sentinels is not None
        self.sentinels.until_switched(before)

    def fail_over(self) -> None:
        """Have the sentinels make another server the primary."""
        assert self.sentinels is not None
        self.sentinels.fail_over()

    async def until_whole(self) -> None:
        """Wait until all replicas follow: nothing is promised to who loses two at once."""

        def following() -> int:
            with suppress(redis.RedisError), self.primary().client() as client:
                return int(client.info("replication")["connected_slaves"])
            return 0

        with trio.move_on_after(WHOLE_SECONDS):
            while await trio.to_thread.run_sync(following) < len(self.servers) - 1:
                await trio.sleep(0.2)

    async def on_each(self, what: Callable[["redis.Redis"], object]) -> None:
        """Do something with each server that answers."""

        def do() -> None:
            for server in self.servers:
                if not server.running:
                    continue
                with suppress(redis.RedisError), server.client() as client:
                    client.connection_pool.connection_kwargs["socket_timeout"] = 2
                    what(client)

        await trio.to_thread.run_sync(do)

    async def start(self, nursery: trio.Nursery) -> None:
        """Start everything."""
        self._start_redis()
        for number, options in enumerate(NODES, start=1):
            relay = Relay(self.servers[0].port)
            await nursery.start(relay.run)
            # Sentinels tell nodes the way themselves: there no relay is on it.
            url = self.sentinels.url if self.sentinels else f"redis://127.0.0.1:{relay.port}/0"
            node = Node(self.directory, f"node-{number}", url, (*ALL, *self.kind.level, *options))
            self.stations.append(Station(node, number))
            self.stations[-1].redis = relay
        for station in self.stations:
            await station.started()
            station.http = Relay(int(station.node.url.rpartition(":")[2]))
            await nursery.start(station.http.run)
        ports = [station.http.port for station in self.stations]
        self.balancer = Balancer(self.directory, ports)
        await self.balancer.started()

    def _start_redis(self) -> None:
        options = ("--appendonly", "yes", "--appendfsync", self.kind.fsync)
        if self.kind.sentinel:
            self.sentinels = Sentinels(2, 3, *options)
        else:
            self.single = Server(self.directory, *options, tcp=True)

    def log(self) -> str:
        """Return what the nodes have written."""
        lines = [(one.name, line) for one in self.stations for line in one.node.log().splitlines()]
        return "\n".join(f"{name}: {line[:LINE_CHARACTERS]}" for name, line in lines)

    def close(self) -> None:
        """End all that was started."""
        if hasattr(self, "balancer"):
            self.balancer.close()
        for station in self.stations:
            station.signal(9)
            station.node.process.wait()
            if station.node.process.stdout is not None:
                station.node.process.stdout.close()
        if self.sentinels is not None:
            self.sentinels.close()
        if self.single is not None:
            self.single.close()
        shutil.rmtree(self.directory, ignore_errors=True)


async def start_again(server: Server) -> None:
    """Start a server that was killed, until it answers: it may have much to load."""
    while True:
        try:
            await trio.to_thread.run_sync(server.start)
        except RuntimeError:
            await trio.to_thread.run_sync(server.kill)
        else:
            return


@asynccontextmanager
async def opened(kind: Kind) -> AsyncGenerator[Setting]:
    """Have a setting run for the time of a block."""
    setting = Setting(kind, Path(tempfile.mkdtemp(prefix="restms-chaos-")))
    try:
        async with trio.open_nursery() as nursery:
            await setting.start(nursery)
            yield setting
            nursery.cancel_scope.cancel()
    finally:
        setting.close()
