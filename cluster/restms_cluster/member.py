"""A node's membership of the cluster: its connections, its self-tests, its share of the chores."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence

import trio
from redis.exceptions import ResponseError

from restms_cluster import domains, due, epochs, sweep
from restms_cluster.address import Address
from restms_cluster.broker import MILLISECONDS, Broker
from restms_cluster.connection import Connection, check_server
from restms_cluster.errors import BrokenStateError, RestMSError, StartError
from restms_cluster.keeper import Keeper
from restms_cluster.keys import probe_key, written_key
from restms_cluster.levels import Disk, Durability, Level
from restms_cluster.link import Link
from restms_cluster.model import ConfiguredDomain, Limits
from restms_cluster.names import DEFAULT
from restms_cluster.notifications import Mode, Notifications
from restms_cluster.profiles import Profile, load_profiles
from restms_cluster.scripts import Library
from restms_cluster.transitions import HintsRequest

CHECK_SECONDS = 10
HINTS_SECONDS = 60  # how long a request for published hints holds, unless it is repeated

_log = logging.getLogger("restms.member")


async def run(
    address: Address,
    configured: Sequence[ConfiguredDomain],
    limits: Limits,
    *,
    sweep_seconds: float,
    timeout_seconds: float,
    durability: Durability | None = None,
    profiles: tuple[Profile, ...] | None = None,
    task_status: trio.TaskStatus[Broker] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Join the cluster at this address, report the broker, and do the chores until cancelled.

    `profiles` are those that this node speaks, as its domains announce them;
    without them, those that come with the server.

    Raises StartError where Redis cannot be reached or used, or the configured
    domains contradict what is there.
    """
    profiles = load_profiles() if profiles is None else profiles
    node = secrets.token_hex(8)
    library = Library(profile.lua for profile in profiles)
    names = [domain.name for domain in configured]
    durability = durability or Durability()
    disk = Disk()

    async def enter(link: Link) -> None:
        await epochs.enter(link, names, library)
        if durability.wants(Level.DISK):
            await disk.look(link)

    connection = Connection(address, timeout=timeout_seconds, enter=enter)
    keeper = _keeper(address, durability, timeout_seconds, enter)
    notifications = Notifications(address, probe_key=probe_key(DEFAULT, node))
    broker = Broker(
        connection=connection,
        notifications=notifications,
        library=library,
        profiles=profiles,
        domains={domain.name: domain for domain in configured},
        limits=limits,
        node=node,
        durability=durability,
        disk=disk,
        keeper=keeper,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(connection.run)
        await check_server(connection)
        if durability.wants(Level.DISK):
            disk.check_start()
        if keeper is not None:
            await nursery.start(keeper.run)
        await nursery.start(notifications.run)
        try:
            await _warn_of_loss(connection)
            await broker.load()
            await establish(broker)
        except BrokenStateError as error:
            raise StartError(f"{error.text} It says: {error.__cause__}") from error
        except RestMSError as error:
            raise StartError(error.text) from error
        nursery.start_soon(_reestablish, broker)
        nursery.start_soon(_check, broker)
        for domain in configured:
            nursery.start_soon(sweep.run, broker, domain, sweep_seconds)
            nursery.start_soon(due.run, broker, domain.name)
        task_status.started(broker)


def _keeper(
    address: Address,
    durability: Durability,
    timeout_seconds: float,
    enter: Callable[[Link], Awaitable[None]],
) -> Keeper | None:
    if not durability.wants(Level.REPLICAS):
        return None
    seconds = durability.replica_seconds
    connection = Connection(address, timeout=timeout_seconds + seconds, enter=enter)
    written = written_key(DEFAULT)
    return Keeper(connection, written, replicas=durability.replicas, seconds=seconds)


async def establish(broker: Broker) -> None:
    """Find out how hints travel, and make the configured domains."""
    await broker.notifications.establish(broker.connection)
    await _request_hints(broker)
    for domain in broker.domains.values():
        await domains.configure(broker, domain)


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
    """Tell whether Redis answers and a hint makes its way back to this node."""
    return await broker.notifications.round_trip(broker.connection)


async def _reestablish(broker: Broker) -> None:
    """Establish anew after each reconnect: it may be a restarted, empty, or other server."""
    while True:
        generation = broker.connection.generation
        await broker.connection.wait_generation(generation)
        await _try_to_establish(broker)
        # Who read in vain while the link was down reads again.
        broker.notifications.wake_all()


async def _check(broker: Broker) -> None:
    """Notice when hints stop coming (somebody reconfigured Redis), and keep the other way open."""
    while True:
        await trio.sleep(CHECK_SECONDS)
        try:
            # A primary may have been a replica for a while, and this node's link have outlived it.
            if await epochs.enter(broker.connection, broker.domains, broker.library):
                broker.notifications.wake_all()
            await _request_hints(broker)
            arrived = await ready(broker)
        except RestMSError as error:
            _log.warning("hints could not be checked: %s", error.text)
            continue
        if not arrived:
            await _try_to_establish(broker)


async def _request_hints(broker: Broker) -> None:
    if broker.notifications.mode is Mode.PUBLISHED:
        for domain in broker.domains:
            await broker.run(HintsRequest(domain, HINTS_SECONDS * MILLISECONDS))


async def _try_to_establish(broker: Broker) -> None:
    try:
        await establish(broker)
    except (RestMSError, StartError) as error:
        _log.warning("the cluster could not be joined anew yet: %s", error)
