"""What is broken, for how long, and put right again."""

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from random import Random

import trio

from tests.chaos.ledger import Ledger
from tests.chaos.setting import Setting, start_again
from tests.servers import Server

STORM_SECONDS, QUIET_SECONDS = 45.0, 30.0
PAUSE_SECONDS = 3.0  # between the beginnings of two faults, on average
LAG_SECONDS = 2.0  # how old a write may be that Redis has not on disk, or not on any replica
FAILOVER_SECONDS = 8.0  # how long before it is seen a failover may have begun
ZOMBIE_SECONDS = 10.0  # how long a primary that was replaced may go on taking writes
WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Blow:
    """One fault of the plan; `station` says whose, where it is one node's."""

    at: float
    name: str
    station: int
    seconds: float


class Scene:
    """What a fault is given."""

    def __init__(self, setting: Setting, ledger: Ledger, blow: Blow) -> None:
        self.setting = setting
        self.ledger = ledger
        self.seconds = blow.seconds
        self.station = setting.stations[blow.station]

    @contextmanager
    def trouble(self, *, sure: bool, way: bool = False, all: bool = False) -> Iterator[None]:
        """Say that something is wrong with the station, or with all."""
        with ExitStack() as stack:
            for station in self.setting.stations if all else [self.station]:
                stack.enter_context(station.trouble(sure=sure, way=way))
            yield


# Nodes


async def node_kill(scene: Scene) -> None:
    with scene.trouble(sure=False):
        with scene.trouble(sure=True):
            await scene.station.kill()
            await trio.sleep(scene.seconds / 2)
        await scene.station.start()


async def node_drain(scene: Scene) -> None:
    with scene.trouble(sure=False):
        await scene.station.drain()
        with scene.trouble(sure=True):
            await trio.sleep(scene.seconds / 2)
        await scene.station.start()


async def node_freeze(scene: Scene) -> None:
    with scene.trouble(sure=False):
        scene.station.signal(signal.SIGSTOP)
        try:
            with scene.trouble(sure=True):
                await trio.sleep(scene.seconds)
        finally:
            scene.station.signal(signal.SIGCONT)


async def worker_kill(scene: Scene) -> None:
    with scene.trouble(sure=False, all=True):
        for station in scene.setting.stations:
            for worker in station.workers()[:1]:
                station.signal(signal.SIGKILL, worker)
        await trio.sleep(1)


# Redis


async def redis_kill(scene: Scene) -> None:
    server = scene.setting.primary()
    with scene.trouble(sure=False, all=True):
        with scene.trouble(sure=True, all=True):
            await trio.to_thread.run_sync(server.kill)
            if scene.setting.kind.crash:
                window = scene.ledger.may_lose("a crash", LAG_SECONDS, lossy=True)
                window.ends = scene.ledger.now()
            await trio.sleep(scene.seconds / 2)
        await start_again(server)


async def redis_freeze(scene: Scene) -> None:
    server = scene.setting.primary()
    with scene.trouble(sure=False, all=True):
        server.pause()
        try:
            with scene.trouble(sure=True, all=True):
                await trio.sleep(scene.seconds / 2)
        finally:
            server.resume()


async def failover_killed(scene: Scene) -> None:
    async with _failing_over(scene) as old:
        await trio.to_thread.run_sync(old.kill)
        await trio.to_thread.run_sync(scene.setting.until_switched, old)
        await trio.sleep(scene.seconds / 2)
        await start_again(old)


async def failover_frozen(scene: Scene) -> None:
    async with _failing_over(scene) as old:
        old.pause()
        try:
            await trio.to_thread.run_sync(scene.setting.until_switched, old)
        finally:
            old.resume()


async def failover_asked(scene: Scene) -> None:
    async with _failing_over(scene):
        await trio.to_thread.run_sync(scene.setting.fail_over)


@asynccontextmanager
async def _failing_over(scene: Scene) -> AsyncGenerator[Server]:
    await scene.setting.until_whole()
    with scene.trouble(sure=False, all=True):
        yield await trio.to_thread.run_sync(scene.setting.primary)
        # With its replicas back it is a whole again: too few of them, and it takes no messages.
        await scene.setting.until_whole()


async def watch_primary(setting: Setting, ledger: Ledger) -> None:
    """Note every change of the primary, also those that nobody planned, for ever."""
    before: Server | None = None
    while setting.sentinels is not None:
        now = await trio.to_thread.run_sync(setting.primary)
        if before not in (None, now):
            ledger.note(f"another primary: {now.url}")
            window = ledger.may_lose("a failover", FAILOVER_SECONDS, lossy=setting.kind.failover)
            window.ends = ledger.now() + ZOMBIE_SECONDS
            for station in setting.stations:
                station.mended = trio.current_time()
        before = now
        await trio.sleep(WATCH_SECONDS)


async def clients_killed(scene: Scene) -> None:
    for kind in ("normal", "pubsub"):
        await scene.setting.on_each(
            lambda client, kind=kind: client.execute_command(  # type: ignore[misc]
                "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"
            )
        )
    with scene.trouble(sure=False, all=True):
        await trio.sleep(0.1)


async def scripts_flushed(scene: Scene) -> None:
    await scene.setting.on_each(lambda client: client.script_flush())


async def hints_off(scene: Scene) -> None:
    with scene.trouble(sure=False, all=True):
        await scene.setting.on_each(lambda client: client.config_set("notify-keyspace-events", ""))
        await trio.sleep(scene.seconds)


# The ways between


async def redis_cut(scene: Scene) -> None:
    with scene.trouble(sure=False):
        await scene.station.redis.cut()


async def redis_slow(scene: Scene) -> None:
    relay = scene.station.redis
    with scene.trouble(sure=False):
        relay.delay = 0.15
        await trio.sleep(scene.seconds)
        relay.delay = 0.0


async def redis_hole(scene: Scene) -> None:
    relay = scene.station.redis
    with scene.trouble(sure=True):
        relay.hole = True
        await trio.sleep(scene.seconds)
        relay.hole = False


async def hints_lost(scene: Scene) -> None:
    relay = scene.station.redis
    with scene.trouble(sure=True):
        relay.deaf = True
        await trio.sleep(scene.seconds)
        relay.deaf = False


async def http_cut(scene: Scene) -> None:
    with scene.trouble(sure=False, way=True):
        await scene.station.http.cut()


async def http_slow(scene: Scene) -> None:
    relay = scene.station.http
    with scene.trouble(sure=False, way=True):
        relay.delay = 0.3
        await trio.sleep(scene.seconds)
        relay.delay = 0.0


async def http_hole(scene: Scene) -> None:
    relay = scene.station.http
    with scene.trouble(sure=True, way=True):
        relay.hole = True
        await trio.sleep(scene.seconds)
        relay.hole = False


@dataclass(frozen=True)
class Fault:
    """A fault, and to whom it is done: one at a time, where it is somebody."""

    do: Callable[[Scene], Awaitable[None]]
    whose: str = ""


NODE, WAY, REDIS, PRIMARY, REDIS_WAY = "node", "way", "Redis", "primary", "way to Redis"
FAULTS: Mapping[str, Fault] = {
    "node-kill": Fault(node_kill, NODE),
    "node-drain": Fault(node_drain, NODE),
    "node-freeze": Fault(node_freeze, NODE),
    "worker-kill": Fault(worker_kill),
    "redis-kill": Fault(redis_kill, REDIS),
    "redis-freeze": Fault(redis_freeze, REDIS),
    "failover-killed": Fault(failover_killed, PRIMARY),
    "failover-frozen": Fault(failover_frozen, PRIMARY),
    "failover-asked": Fault(failover_asked, PRIMARY),
    "clients-killed": Fault(clients_killed),
    "scripts-flushed": Fault(scripts_flushed),
    "hints-off": Fault(hints_off),
    "redis-cut": Fault(redis_cut, REDIS_WAY),
    "redis-slow": Fault(redis_slow, REDIS_WAY),
    "redis-hole": Fault(redis_hole, REDIS_WAY),
    "hints-lost": Fault(hints_lost, REDIS_WAY),
    "http-cut": Fault(http_cut, WAY),
    "http-slow": Fault(http_slow, WAY),
    "http-hole": Fault(http_hole, WAY),
}


def possible(*, sentinel: bool) -> list[str]:
    """Return the names of the faults that can be in a setting."""
    not_here = (REDIS, REDIS_WAY) if sentinel else (PRIMARY,)
    return [name for name, fault in FAULTS.items() if fault.whose not in not_here]


def planned(random: Random, names: Sequence[str], nodes: int, seconds: float) -> list[Blow]:
    """Return a plan: storms of faults, and a quiet time after each, in which all must mend."""
    plan, now = [], 0.0
    while (now := now + random.expovariate(1 / PAUSE_SECONDS)) < seconds:
        blow = Blow(now, random.choice(names), random.randrange(nodes), random.uniform(1, 12))
        if now % (STORM_SECONDS + QUIET_SECONDS) < STORM_SECONDS:
            plan.append(blow)
    return plan


async def carry_out(plan: Sequence[Blow], setting: Setting, ledger: Ledger) -> None:
    """Do what is planned, at its times, several at once as they come; return when all is mended."""
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for blow in plan:
            await trio.sleep_until(begun + blow.at)
            nursery.start_soon(_one, blow, setting, ledger)


async def _one(blow: Blow, setting: Setting, ledger: Ledger) -> None:
    scene, fault = Scene(setting, ledger, blow), FAULTS[blow.name]
    one = fault.whose in (NODE, WAY, REDIS_WAY)
    owner = f"{fault.whose} {blow.station if one else ''}"
    text = f"{blow.name}, {scene.station.name}" if one else blow.name
    if owner in setting.busy:
        ledger.note(f"{text}: not now, another of its kind goes on")
        return
    if fault.whose:
        setting.busy.add(owner)
    ledger.counts[f"fault: {blow.name}"] += 1
    ledger.note(f"{text} begins, for {blow.seconds:.1f} s")
    try:
        await fault.do(scene)
    finally:
        setting.busy.discard(owner)
        ledger.note(f"{text} is over")
