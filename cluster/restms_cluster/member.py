"""A node's membership of the cluster: its connections, its self-tests, its share of the chores."""

import logging
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio
from redis.exceptions import ResponseError

from restms_cluster import domains, due, epochs, measure, survey, sweep, turns
from restms_cluster.address import Address
from restms_cluster.broker import MILLISECONDS, Broker
from restms_cluster.calls import Calls
from restms_cluster.connection import Connection, check_server
from restms_cluster.errors import BrokenStateError, RestMSError, StartError
from restms_cluster.formats import NewerFormatError
from restms_cluster.keeper import Keeper
from restms_cluster.levels import Disk, Durability, Level
from restms_cluster.link import MovingError
from restms_cluster.locators import make_locator
from restms_cluster.model import ConfiguredDomain, Limits
from restms_cluster.notifications import Mode
from restms_cluster.profiles import Profile, load_profiles
from restms_cluster.scripts import Library
from restms_cluster.shard import Shard
from restms_cluster.shards import Shards
from restms_cluster.topology import Seeds, Topology
from restms_cluster.transitions import HintsRequest

CHECK_SECONDS = 10
HINTS_SECONDS = 60  # how long a request for published hints holds, unless it is repeated

_log = logging.getLogger("restms.member")


async def run(
    topology: Topology,
    configured: Sequence[ConfiguredDomain],
    limits: Limits,
    *,
    sweep_seconds: float,
    timeout_seconds: float,
    durability: Durability | None = None,
    profiles: tuple[Profile, ...] | None = None,
    task_status: trio.TaskStatus[Broker] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Join the cluster that these servers hold, report the broker, and do the chores for ever.

    `profiles` are those that this node speaks, as its domains announce them;
    without them, those that come with the server. `durability` is what is
    promised to publishers.

    Raises StartError where Redis cannot be reached or used, or the configured
    domains contradict what is there.
    """
    profiles = load_profiles() if profiles is None else profiles
    node = secrets.token_hex(8)

    durability = durability or Durability()
    if durability.wants(Level.REPLICAS) and durability.replica_seconds >= timeout_seconds:
        raise StartError("Replicas must have less time than Redis has to answer.")
    library = Library((profile.lua for profile in profiles), guarded=isinstance(topology, Seeds))

    def make(address: Address, living: Collection[str], lost: Callable[[], None]) -> Shard:
        disk = Disk()

        async def enter(calls: Calls, names: Collection[str]) -> None:
            await epochs.enter(calls, names, library)
            if durability.wants(Level.DISK):
                await disk.look(calls)

        keeper = Keeper(replicas=durability.replicas, seconds=durability.replica_seconds)
        return Shard(address, living, node, timeout_seconds, enter, lost, disk=disk, keeper=keeper)

    broker = Broker(
        shards=Shards(make_locator(topology, [domain.name for domain in configured]), make),
        library=library,
        profiles=profiles,
        domains={domain.name: domain for domain in configured},
        limits=limits,
        node=node,
        durability=durability,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(broker.shards.run, partial(_prepare, broker), partial(_arrived, broker))
        # Only at the start: of a server that takes over later, all that it can do is used.
        if durability.wants(Level.DISK):
            for shard in broker.shards:
                shard.disk.check_start()
        with _told_at_start():
            await establish(broker)
        nursery.start_soon(_check, broker)
        for domain in configured:
            nursery.start_soon(sweep.run, broker, domain, sweep_seconds)
            nursery.start_soon(survey.run, broker, domain.name, sweep_seconds)
            nursery.start_soon(due.run, broker, domain.name)
            if broker.most_bytes(domain.name):
                nursery.start_soon(measure.run, broker, domain.name, sweep_seconds)
        task_status.started(broker)


@contextmanager
def _told_at_start() -> Iterator[None]:
    """Turn what Redis refuses into the reason why the node cannot start."""
    try:
        yield
    except BrokenStateError as error:
        raise StartError(f"{error.text} It says: {error.__cause__}") from error
    except RestMSError as error:
        raise StartError(error.text) from error


async def _prepare(broker: Broker, shard: Shard) -> None:
    """Get a shard ready for its first domain. Raises StartError where it cannot be used."""
    info = await check_server(shard.connection)
    if info.mode != ("cluster" if broker.library.guarded else "standalone"):
        raise StartError(
            f"The server at {shard.address} is in the mode {info.mode}: one of a Redis Cluster "
            "is named by redis+cluster://, a Sentinel by redis+sentinel://, others by redis://."
        )
    with _told_at_start():
        await _warn_of_loss(shard.connection)
        await broker.load(shard)
    shard.start_soon(partial(_reestablish, broker))


async def _arrived(broker: Broker, shard: Shard, names: Sequence[str]) -> None:
    """Put what domains need in place where they have come to."""
    _log.info("now on %s: the domains %s", shard.address, ", ".join(names))
    await _try_to_establish(broker, shard)
    # Who read in vain meanwhile reads again.
    shard.notifications.wake_all()


async def establish(broker: Broker) -> None:
    """Find out how hints travel, and make the configured domains."""
    for shard in broker.shards:
        await _establish(broker, shard)


async def _establish(broker: Broker, shard: Shard) -> None:
    await shard.notifications.establish(shard.connection)
    await _request_hints(broker, shard)
    for name in sorted(shard.domains):
        await domains.configure(broker, broker.domains[name])


async def _warn_of_loss(connection: Connection) -> None:
    """Say so where Redis is set up to forget messages, and lets us see that."""
    for setting, harmless, harm in (
        ("maxmemory-policy", b"noeviction", "may throw messages away when its memory is full"),
        ("appendonly", b"yes", "does not keep an append-only file: its crash loses messages"),
    ):
        try:
            reply = await connection.call("CONFIG", "GET", setting)
        except ResponseError:
            return  # a managed service, or a user who may not
        if isinstance(reply, list) and len(reply) > 1 and reply[1] != harmless:
            _log.warning("Redis %s (%s is not %s).", harm, setting, harmless.decode())


async def ready(broker: Broker) -> bool:
    """Tell whether every shard answers and a hint makes its way from there back to this node."""
    arrived: list[bool] = []

    async def test(shard: Shard) -> None:
        try:
            arrived.append(await shard.notifications.round_trip(shard.connection))
        except MovingError:
            # It answers. One domain is out of service, and the others are well.
            arrived.append(True)
        except RestMSError:
            arrived.append(False)

    async with trio.open_nursery() as nursery:
        for shard in broker.shards:
            nursery.start_soon(test, shard)
    return all(arrived)


async def _reestablish(broker: Broker, shard: Shard) -> None:
    """Establish anew after each reconnect: it may be a restarted, empty, or other server."""
    generation = shard.connection.generation
    while True:
        # Of one that came while the last was being established, too.
        before, generation = generation, await shard.connection.wait_generation(generation)
        broker.counts.reconnects[str(shard.address)] += generation - before
        await _try_to_establish(broker, shard)
        # Who read in vain while the link was down reads again.
        shard.notifications.wake_all()


async def _check(broker: Broker) -> None:
    """Notice when hints stop coming (somebody reconfigured Redis), and keep the other way open."""
    while True:
        await trio.sleep(CHECK_SECONDS)
        for shard in broker.shards:
            try:
                # A primary may have been a replica for a while, and our link have outlived that.
                if await epochs.enter(shard.connection, sorted(shard.domains), broker.library):
                    shard.notifications.wake_all()
                await _request_hints(broker, shard)
                shard.nodes = await turns.count(shard)
                arrived = await shard.notifications.round_trip(shard.connection)
            except NewerFormatError as error:
                _log.error("%s", error.text)
                shard.enter_anew()
                continue
            except RestMSError as error:
                _log.warning("hints of %s could not be checked: %s", shard.address, error.text)
                continue
            if not arrived:
                await _try_to_establish(broker, shard)


async def _request_hints(broker: Broker, shard: Shard) -> None:
    if shard.notifications.mode is not Mode.PUBLISHED:
        return
    failure: RestMSError | None = None
    for domain in sorted(shard.domains):
        try:
            await broker.run(HintsRequest(domain, HINTS_SECONDS * MILLISECONDS))
        except RestMSError as error:  # one that is out of service must not silence the others
            failure = error
    if failure is not None:
        raise failure


async def _try_to_establish(broker: Broker, shard: Shard) -> None:
    try:
        await _establish(broker, shard)
    except (RestMSError, StartError) as error:
        _log.warning("the cluster could not be joined anew yet: %s", error)
