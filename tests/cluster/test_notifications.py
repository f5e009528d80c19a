"""Hints: they wake those who wait, they are never lost in between, and they can travel two ways."""

import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from restms_cluster import notifications as notifications_module
from restms_cluster import subscriber
from restms_cluster.address import Address
from restms_cluster.connection import Connection
from restms_cluster.errors import StartError, StateUnavailableError
from restms_cluster.link import Link
from restms_cluster.notifications import Mode, Notifications
from tests.servers import Server, start_server
from tests.waiting import SECONDS, until

STREAM = "restms:{d}:pipe:1:messages"
FEED = "restms:{d}:feed:news"
PROBE = "restms:{d}:probe:1:messages"
AT_ONCE = 5.0  # seconds, far more than it takes
PATIENCE = 60.0  # seconds, for thousands of readers on a machine that is busy
MANY = 10_000
NEVER = 0.05  # seconds, to see that nothing comes


@asynccontextmanager
async def listening(address: Address, **options: float) -> AsyncIterator[Notifications]:
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            notifications = Notifications(address, PROBE, **options)
            await nursery.start(notifications.run)
            yield notifications
            nursery.cancel_scope.cancel()


@pytest.fixture
async def notifications(address: Address, nursery: trio.Nursery) -> Notifications:
    notifications = Notifications(address, PROBE, linger=0.2)
    await nursery.start(notifications.run)
    return notifications


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may stop or freeze."""
    server = start_server(tmp_path, "--notify-keyspace-events", "Kt")
    yield server
    server.close()


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody give up waiting for a confirmation, which then were a hint itself."""
    monkeypatch.setattr(notifications_module, "CONFIRM_SECONDS", PATIENCE)


@asynccontextmanager
async def waiting(notifications: Notifications, keys: Sequence[str]) -> AsyncIterator[Counter[str]]:
    """Watch keys; enter when hints of all of them come. Counts by keys who had one at the end."""
    woken, entered, all_entered = Counter[str](), 0, trio.Event()

    async def wait(key: str) -> None:
        nonlocal entered
        async with notifications.watch(key) as watch:
            entered += 1
            if entered == len(keys):
                all_entered.set()
            hinted = await watch.wakeup(PATIENCE)
            woken[key] += hinted

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(wait, key)
            await all_entered.wait()
            assert not woken
            yield woken


def send_keyspace_events(server: Server) -> None:
    with server.client() as client:
        client.config_set("notify-keyspace-events", "Kt")


def subscribed(server: Server, *channels: str) -> list[int]:
    """Return how many links are subscribed to each channel."""
    with server.client() as client:
        return [count for _, count in client.pubsub_numsub(*channels)]


def subscribes(server: Server) -> int:
    """Return how many SUBSCRIBE commands the server has carried out."""
    with server.client() as client:
        stats: dict[str, Any] = client.info("commandstats")
        return int(stats.get("cmdstat_subscribe", {"calls": 0})["calls"])


# --- waking --------------------------------------------------------------------------------


async def test_a_change_of_a_stream_wakes(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    send_keyspace_events(server)
    async with notifications.watch(STREAM) as watch:
        assert not watch.fresh
        await connection.call("XADD", STREAM, "1-0", "m", "")
        assert await watch.wakeup(AT_ONCE)
        assert not await watch.wakeup(NEVER)


async def test_what_is_no_stream_is_woken_by_a_published_hint(
    notifications: Notifications, connection: Connection
) -> None:
    async with notifications.watch(FEED) as watch:
        assert await connection.call("PUBLISH", FEED, "") == 1
        assert await watch.wakeup(AT_ONCE)


async def test_a_hint_that_came_before_the_wait_is_not_lost(
    notifications: Notifications, connection: Connection
) -> None:
    async with notifications.watch(FEED) as first, notifications.watch(FEED) as second:
        assert second.fresh
        await connection.call("PUBLISH", FEED, "")
        assert await first.wakeup(AT_ONCE)
        with trio.CancelScope() as scope:
            scope.cancel()
            await second.wakeup(AT_ONCE)
        assert await second.wakeup(0)
        assert not await second.wakeup(0)


async def test_a_hint_of_another_resource_wakes_nobody(
    notifications: Notifications, connection: Connection
) -> None:
    async with notifications.watch(FEED) as watch, notifications.watch(f"{FEED}2") as other:
        await connection.call("PUBLISH", f"{FEED}2", "")
        assert await other.wakeup(AT_ONCE)
        assert not await watch.wakeup(NEVER)


async def test_everybody_can_be_woken(notifications: Notifications) -> None:
    async with notifications.watch(FEED) as feed, notifications.watch(STREAM) as stream:
        notifications.wake_all()
        assert await feed.wakeup(AT_ONCE)
        assert await stream.wakeup(AT_ONCE)


async def test_another_database_has_its_own_hints(server: Server) -> None:
    send_keyspace_events(server)
    address = Address.parse(server.url.replace("db=0", "db=4"))
    async with listening(address) as notifications, notifications.watch(STREAM) as watch:
        with server.client() as client:
            client.xadd(STREAM, {"m": ""})
            assert not await watch.wakeup(NEVER)
            client.select(4)
            client.xadd(STREAM, {"m": ""})
            assert await watch.wakeup(AT_ONCE)


# --- subscriptions -------------------------------------------------------------------------


@pytest.mark.usefixtures("no_hurry")
async def test_one_subscription_however_many_watch(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    before = subscribes(server)
    async with waiting(notifications, [FEED] * MANY) as woken:
        await connection.call("PUBLISH", FEED, "")
    assert woken == {FEED: MANY}
    assert subscribes(server) == before + 1
    assert subscribed(server, FEED) == [1]


@pytest.mark.usefixtures("no_hurry")
async def test_ten_thousand_keys(notifications: Notifications, connection: Connection) -> None:
    keys = [f"{FEED}{number}" for number in range(MANY)]
    async with waiting(notifications, keys) as woken:
        await connection.call_many([("PUBLISH", key, "") for key in keys])
    assert woken == dict.fromkeys(keys, 1)


async def test_a_subscription_lingers_and_then_ends(
    notifications: Notifications, server: Server
) -> None:
    before = subscribes(server)
    for turn in range(3):
        async with notifications.watch(FEED) as watch:
            assert watch.fresh is (turn > 0)
    assert subscribes(server) == before + 1
    await until(lambda: subscribed(server, FEED) == [0])
    async with notifications.watch(FEED) as watch:
        assert not watch.fresh
        assert subscribed(server, FEED) == [1]


async def test_what_lingers_is_bounded(
    notifications: Notifications, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "MOST_IDLE", 5)
    async with notifications.watch("watched"):
        for number in range(20):
            async with notifications.watch(f"{FEED}{number}"):
                pass
        assert subscribed(server, "watched", f"{FEED}0", f"{FEED}19") == [1, 0, 1]
        assert len(notifications._subscriber._topics) == 6


async def test_a_confirmation_belongs_to_its_own_subscription(address: Address) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    listener = subscriber.Subscriber(address, linger=0)

    async def confirm(kind: bytes) -> None:
        await theirs.send_all(b"*3\r\n$%d\r\n%s\r\n$1\r\nc\r\n:1\r\n" % (len(kind), kind))
        await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener._serve, Link(ours), None)
        await trio.testing.wait_all_tasks_blocked()
        listener.leave(listener.enter(b"c", "c"))
        listener._drop(b"c")
        # Somebody comes back before Redis has answered any of this.
        topic = listener.enter(b"c", "c")
        await confirm(b"subscribe")
        await confirm(b"unsubscribe")
        assert not topic.subscription.settled.is_set()
        await confirm(b"subscribe")
        assert topic.subscription.confirmed
        nursery.cancel_scope.cancel()


async def test_nothing_is_kept_of_those_who_left(address: Address) -> None:
    async with listening(address, linger=0) as notifications:
        for number in range(50):
            async with notifications.watch(f"{FEED}{number}"):
                pass
        await until(lambda: not notifications._subscriber._topics)
        await until(lambda: not notifications._subscriber._expected)
        gc.collect()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, subscriber.Topic)]


# --- loss ----------------------------------------------------------------------------------


async def test_a_cut_link_wakes_and_subscribes_again(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    async with notifications.watch(FEED) as watch, notifications.watch(STREAM) as other:
        with server.client() as client:
            assert client.client_kill_filter(_type="pubsub") == 1
        assert await watch.wakeup(AT_ONCE)
        assert await other.wakeup(AT_ONCE)
        assert await connection.call("PUBLISH", FEED, "") == 1
        assert await watch.wakeup(AT_ONCE)
        assert not await other.wakeup(NEVER)


async def test_without_a_link_nobody_waits_for_it(own_server: Server) -> None:
    async with (
        listening(Address.parse(own_server.url)) as notifications,
        notifications.watch(FEED) as early,
    ):
        own_server.stop()
        await until(lambda: not notifications.connected)
        began = trio.current_time()
        async with notifications.watch(STREAM) as watch, notifications.watch(FEED) as late:
            assert trio.current_time() - began < 1
            assert not late.fresh
            await trio.to_thread.run_sync(own_server.start)
            for each in (early, watch, late):
                assert await each.wakeup(AT_ONCE)
            with own_server.client() as client:
                client.xadd(STREAM, {"m": ""})
            assert await watch.wakeup(AT_ONCE)


async def test_a_link_that_died_without_a_sign_is_noticed(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "PING_SECONDS", 0.05)
    async with (
        listening(Address.parse(own_server.url)) as notifications,
        notifications.watch(FEED) as watch,
    ):
        assert not await watch.wakeup(0.3)  # it answers its pings
        assert notifications._subscriber.generation == 1
        own_server.pause()
        await until(lambda: not notifications.connected)
        own_server.resume()
        assert await watch.wakeup(AT_ONCE)


async def test_no_server_at_the_start(nursery: trio.Nursery) -> None:
    notifications = Notifications(Address.parse("redis://127.0.0.1:1"), PROBE)
    with pytest.raises(StartError, match="Cannot connect"):
        await nursery.start(notifications.run)


# --- the self-test -------------------------------------------------------------------------


async def test_a_configured_server_is_left_as_it_is(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    with server.client() as client:
        client.config_set("notify-keyspace-events", "KA")
        before = client.config_get("notify-keyspace-events")
        assert await notifications.establish(connection) is Mode.KEYSPACE
        assert client.config_get("notify-keyspace-events") == before
    assert await notifications.round_trip(connection)


async def test_a_server_is_configured_and_keeps_what_it_had(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    with server.client() as client:
        client.config_set("notify-keyspace-events", "Ex")
        assert not await notifications.round_trip(connection, timeout=0.1)
        assert await notifications.establish(connection) is Mode.KEYSPACE
        assert set(client.config_get("notify-keyspace-events")["notify-keyspace-events"]) == set(
            "KtEx"
        )


async def test_events_of_another_class_do_not_pass_for_ours(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    # With g and not t, the probe's EXPIRE is told of, and its XADD is not.
    with server.client() as client:
        client.config_set("notify-keyspace-events", "Kg")
    assert not await notifications.round_trip(connection, timeout=0.2)


async def test_another_hint_is_not_taken_for_the_probes(
    notifications: Notifications,
    connection: Connection,
    server: Server,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send_keyspace_events(server)
    call_many = connection.call_many

    async def send(commands: Any) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await call_many(commands)

    async def wake_first(commands: Any) -> list[Any]:
        notifications.wake_all()
        nursery.start_soon(send, commands)
        return []

    monkeypatch.setattr(connection, "call_many", wake_first)
    assert await notifications.round_trip(connection)


async def test_the_probe_leaves_nothing_that_does_not_expire(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    await notifications.establish(connection)
    with server.client() as client:
        assert client.keys() == [PROBE.encode()]
        assert client.ttl(PROBE) > 0
        assert client.xlen(PROBE) == 1


async def test_events_switched_off_at_run_time(
    notifications: Notifications, connection: Connection, server: Server
) -> None:
    await notifications.establish(connection)
    async with notifications.watch(STREAM) as watch:
        with server.client() as client:
            client.config_set("notify-keyspace-events", "")
            client.xadd(STREAM, {"m": ""})
        assert not await watch.wakeup(NEVER)  # a lost hint: the waiter reads by itself
        assert not await notifications.round_trip(connection, timeout=0.1)
        assert await notifications.establish(connection) is Mode.KEYSPACE
        with server.client() as client:
            client.xadd(STREAM, {"m": ""})
        assert await watch.wakeup(AT_ONCE)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which the probe's hint is not to come."""
    monkeypatch.setattr(notifications_module, "PROBE_SECONDS", 0.2)


async def published_when(server: Server, url: str) -> None:
    """See that hints are published, and that those who wait already get them."""
    address = Address.parse(url)
    async with trio.open_nursery() as nursery:
        connection, notifications = Connection(address), Notifications(address, PROBE)
        await nursery.start(connection.run)
        await nursery.start(notifications.run)
        async with notifications.watch(STREAM) as watch, notifications.watch(FEED) as feed:
            assert await notifications.establish(connection) is Mode.PUBLISHED
            assert notifications.mode is Mode.PUBLISHED
            assert await watch.wakeup(AT_ONCE)  # moving to the other channel may miss a hint
            with server.client() as client:
                assert client.publish(STREAM, "") == 1
                assert await watch.wakeup(AT_ONCE)
                assert client.publish(FEED, "") == 1
                assert await feed.wakeup(AT_ONCE)
            keyspace = f"__keyspace@0__:{STREAM}"
            assert subscribed(server, STREAM, FEED, keyspace) == [1, 1, 0]
        assert await notifications.round_trip(connection)
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("quick")
async def test_a_user_without_config(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with server.client() as client:
        client.acl_setuser(
            "plain",
            enabled=True,
            nopass=True,
            categories=["+@all", "-@dangerous"],
            keys=["*"],
            channels=["*"],
        )
    with caplog.at_level(logging.WARNING, "restms.notifications"):
        await published_when(server, server.url.replace("unix://", "unix://plain:x@"))
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("quick")
async def test_a_service_without_config(tmp_path: Path) -> None:
    with closing(start_server(tmp_path, "--rename-command", "CONFIG", "")) as server:
        await published_when(server, server.url)


async def test_keyspace_mode_comes_back(server: Server, connection: Connection) -> None:
    with server.client() as client:
        client.acl_setuser(
            "changing", enabled=True, nopass=True, categories=["+@all"], keys=["*"], channels=["*"]
        )
        client.acl_setuser("changing", enabled=True, commands=["-config"])
    address = Address.parse(server.url.replace("unix://", "unix://changing:x@"))
    async with listening(address) as notifications, trio.open_nursery() as nursery:
        limited = Connection(address)
        await nursery.start(limited.run)
        assert await notifications.establish(limited) is Mode.PUBLISHED
        async with notifications.watch(STREAM) as watch:
            assert await notifications.establish(connection) is Mode.KEYSPACE
            assert await watch.wakeup(AT_ONCE)
            await connection.call("XADD", STREAM, "*", "m", "")
            assert await watch.wakeup(AT_ONCE)
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("quick")
async def test_a_user_who_may_not_subscribe(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as client:
        client.acl_setuser(
            "deaf", enabled=True, nopass=True, categories=["+@all"], keys=["*"], reset_channels=True
        )
    address = Address.parse(server.url.replace("unix://", "unix://deaf:x@"))
    async with listening(address) as notifications, trio.open_nursery() as nursery:
        connection = Connection(address)
        await nursery.start(connection.run)
        began = trio.current_time()
        async with notifications.watch(FEED) as watch:
            assert trio.current_time() - began < 1
            assert not await watch.wakeup(NEVER)
        assert await notifications.establish(connection) is Mode.PUBLISHED
        assert not await notifications.round_trip(connection, timeout=0.05)
        nursery.cancel_scope.cancel()
    assert "waiting readers only poll" in caplog.text
    assert caplog.text.count("refuses a subscription") == 1


async def test_a_lost_link_says_nothing_of_hints(own_server: Server) -> None:
    address = Address.parse(own_server.url)
    async with listening(address) as notifications, trio.open_nursery() as nursery:
        connection = Connection(address, patience=0.05)
        await nursery.start(connection.run)
        own_server.stop()
        await until(lambda: not notifications.connected)
        with pytest.raises(StateUnavailableError):
            await notifications.round_trip(connection)
        assert notifications.mode is Mode.KEYSPACE
        nursery.cancel_scope.cancel()
