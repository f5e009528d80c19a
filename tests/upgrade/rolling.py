"""A rolling upgrade under load: nodes of one version take the places of another's, one by one.

It is done as an orchestrator does it: a new node is started and ready first; then an old one
is told to drain (what a preStop hook does), gets SIGTERM, and is gone. HAProxy stands before
them with the configuration that the project ships, and learns of it by /readyz alone.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import trio

from tests.chaos.balancer import Balancer
from tests.chaos.ledger import Ledger
from tests.chaos.population import Population
from tests.chaos.run import end
from tests.nodes import Node
from tests.servers import Server, free_port
from tests.upgrade.versions import ADDITIVE, make_version

OPTIONS = (("--workers", "2"), ("--no-lane",), ())
"""Of the nodes, in turn."""

ALL = ("--trusted-proxies", "127.0.0.1", "--drain-delay-seconds", "1")
LATER = "9.0.0"
READY_SECONDS = 60.0

# What a client is told to repeat (503, with Retry-After), or that a stream goes on elsewhere.
REPEATED = ("GET 503", "POST 503", "DELETE 503", "WebSocket closed 1001")
WELL = tuple(
    f"{method} {status}" for method in ("GET", "POST", "DELETE") for status in (200, 201, 204)
)


@dataclass(frozen=True)
class Plan:
    """How often all nodes are replaced, and under how many messages a second.

    Every reader is to have some `last_words` in the end, which may take several tries.
    """

    rounds: int = 1
    rate: float = 60.0
    seed: int = 1
    pause: float = 0.5
    last_words: bool = True


@dataclass
class Account:
    """What came of it: the messages, and each answer that clients had."""

    ledger: Ledger
    answers: Counter[str] = field(default_factory=Counter)
    log: str = ""

    @property
    def failed(self) -> dict[str, int]:
        """The answers, or missing ones, that no client is told to repeat."""
        return {
            told: count for told, count in self.answers.items() if told not in (*WELL, *REPEATED)
        }

    @property
    def broken(self) -> bool:
        """Whether anything was not as promised."""
        return bool(self.failed) or self.ledger.broken

    def report(self) -> str:
        """Return it in words and figures."""
        lines = [f"{told:<34}{count:>9}" for told, count in sorted(self.answers.items())]
        lines += [f"NOT AS PROMISED: {told}, {count} times" for told, count in self.failed.items()]
        return "\n".join([self.ledger.report(), "", "Answers", *lines])


class Fleet:
    """Three nodes behind HAProxy, and one place more than there are nodes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.versions: list[Mapping[str, str]] = [
            {},
            make_version(directory / "later", LATER, ADDITIVE),
        ]
        self.ports = [free_port() for _ in range(len(OPTIONS) + 1)]
        self.nodes: dict[int, Node] = {}
        self.started = 0
        self.log: list[str] = []

    async def begin(self) -> None:
        """Start Redis, the first nodes, and the balancer."""
        self.redis = Server(self.directory, "--appendonly", "yes", tcp=True)
        for place in range(len(OPTIONS)):
            self._spawn(place, self.versions[0])
        for node in self.nodes.values():
            await trio.to_thread.run_sync(node.await_url)
        self.balancer = Balancer(self.directory, self.ports)
        await self.balancer.started()
        await self._until(lambda ups: sum(ups) == len(OPTIONS))

    async def replace_all(self, version: Mapping[str, str], pause: float) -> None:
        """Put a node of a version in the place of each."""
        for place in list(self.nodes):
            (free,) = set(range(len(self.ports))) - set(self.nodes)
            node = self._spawn(free, version)
            await trio.to_thread.run_sync(node.await_url)
            await self._until(lambda ups, free=free: ups[free])  # type: ignore[misc]
            await self._retire(self.nodes[place])
            del self.nodes[place]
            await self._until(lambda ups, place=place: not ups[place])  # type: ignore[misc]
            await trio.sleep(pause)

    async def _retire(self, node: Node) -> None:
        command = (sys.executable, "-m", "restms_node", "drain", "--pid", str(node.process.pid))
        await trio.run_process(command)
        status = await trio.to_thread.run_sync(node.terminate)
        assert status == 0, node.log()
        self.log.append(node.log())

    def _spawn(self, place: int, version: Mapping[str, str]) -> Node:
        options = (*ALL, *OPTIONS[self.started % len(OPTIONS)])
        bind = ("--bind", f"127.0.0.1:{self.ports[place]}")
        self.started += 1
        name = f"node-{self.started}"
        self.nodes[place] = Node(self.directory, name, self.redis.url, (*options, *bind), version)
        return self.nodes[place]

    async def _until(self, holds: Callable[[list[bool]], bool]) -> None:
        with trio.fail_after(READY_SECONDS):
            while not holds(await self.balancer.ups()):
                await trio.sleep(0.05)

    def close(self) -> None:
        """End all that was started."""
        if hasattr(self, "balancer"):
            self.balancer.close()
        for node in self.nodes.values():
            node.close()
        if hasattr(self, "redis"):
            self.redis.close()


@asynccontextmanager
async def opened() -> AsyncGenerator[Fleet]:
    """Have a fleet run for the time of a block."""
    with tempfile.TemporaryDirectory(prefix="restms-upgrade-") as directory:
        fleet = Fleet(Path(directory))
        try:
            await fleet.begin()
            yield fleet
        finally:
            fleet.close()


async def run(plan: Plan, tell: Callable[[str], object]) -> Account:
    """Carry a plan out; return the account, which is closed."""
    async with opened() as fleet:
        account = Account(Ledger())
        population = Population(("127.0.0.1", fleet.balancer.port), account.ledger, plan.seed)
        await population.settle()
        async with trio.open_nursery() as nursery:
            population.start(nursery)
            await _upgrade(plan, fleet, population, tell)
            await end(population, account.ledger, last_words=plan.last_words)
            nursery.cancel_scope.cancel()
        for client in population.clients:
            account.answers.update(client.told)
        await population.close()
        account.ledger.close()
        account.log = "\n".join(fleet.log)
        return account


async def _upgrade(
    plan: Plan, fleet: Fleet, population: Population, tell: Callable[[str], object]
) -> None:
    """Replace all nodes, forth and back, while everybody publishes."""
    ending = trio.Event()
    async with trio.open_nursery() as nursery:
        for publisher in population.publishers:
            rate = plan.rate / len(population.publishers)
            nursery.start_soon(publisher.run, rate, ending)
        versions = cycle([*fleet.versions[1:], fleet.versions[0]])
        for number, version in zip(range(plan.rounds), versions, strict=False):
            await fleet.replace_all(version, plan.pause)
            tell(f"round {number + 1} of {plan.rounds} is done")
        ending.set()
