"""Chores: idle pipes, wiped servers, hints that do not come."""

import pytest
import redis
import trio

from restms_cluster import domains, feeds, member, messages, pipes, readers, sweep
from restms_cluster.broker import Broker
from restms_cluster.errors import BrokenStateError, NotFoundError, StartError
from restms_cluster.model import ConfiguredDomain, ConfiguredFeed, Draft
from restms_cluster.names import DEFAULT, FeedName
from restms_cluster.notifications import Mode
from tests.operations.conftest import DEFAULT_FEED, Joined
from tests.servers import Server

FEED = FeedName(DEFAULT, DEFAULT)


async def gone(broker: Broker, pipe: object) -> None:
    with trio.fail_after(10):
        while True:
            # Looked at from outside: asking the broker would be a use of the pipe.
            if not await trio.to_thread.run_sync(pipe):
                return
            await trio.sleep(0.02)


async def test_an_unused_pipe_is_collected_and_a_used_one_is_not(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined(idle_seconds=0.5, sweep_seconds=0.1) as broker:
        unused = (await pipes.create(broker, DEFAULT, "")).token
        used = (await pipes.create(broker, DEFAULT, "")).token
        async with trio.open_nursery() as nursery:

            async def wait_as_a_reader_does() -> None:
                while True:
                    await readers.read(broker, used.message(1))
                    await trio.sleep(0.1)

            nursery.start_soon(wait_as_a_reader_does)
            await gone(broker, lambda: client.exists(f"restms:{{default}}:pipe:{unused.secret}"))
            nursery.cancel_scope.cancel()
        await messages.publish(broker, FEED, [Draft({"address": str(used)})])
        assert await readers.read(broker, used.message(1)) is not None


async def test_configured_feeds_come_back_to_a_wiped_server(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined(sweep_seconds=0.1) as broker:
        client.flushall()
        with trio.fail_after(10):
            while True:
                try:
                    await domains.read(broker, "sales")
                    return
                except NotFoundError:
                    await trio.sleep(0.02)


async def test_a_full_memory_is_freed_by_the_sweep_and_nodes_stay_ready(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined(idle_seconds=0.5, sweep_seconds=0.1) as broker:
        unused = (await pipes.create(broker, DEFAULT, "")).token
        client.config_set("maxmemory", "1")
        try:
            assert await member.ready(broker)
            async with joined() as late:
                assert await member.ready(late)
            await gone(broker, lambda: client.exists(f"restms:{{default}}:pipe:{unused.secret}"))
        finally:
            client.config_set("maxmemory", "0")


async def test_what_redis_refuses_is_told_and_ends_no_node(
    joined: Joined, client: "redis.Redis[bytes]", operations_server: Server
) -> None:
    async with joined(sweep_seconds=0.05) as broker:
        client.set("restms:{default}:trash", "not a set")
        with pytest.raises(BrokenStateError):
            await sweep.sweep(broker, DEFAULT, 1)
        client.delete("restms:{default}:trash")
        await sweep.sweep(broker, DEFAULT, 1)
    client.acl_setuser(
        "unscripted",
        enabled=True,
        passwords=["+pw"],
        keys=["*"],
        channels=["*"],
        commands=["+@all", "-@scripting"],
    )
    url = operations_server.url.replace("unix://", "unix://unscripted:pw@")
    with pytest.raises(ExceptionGroup) as caught:
        async with joined(url=url):
            pass
    told = caught.value.exceptions[0]
    while isinstance(told, ExceptionGroup):
        told = told.exceptions[0]
    assert isinstance(told, StartError)
    assert "permissions" in str(told)


async def test_only_one_node_sweeps(joined: Joined, client: "redis.Redis[bytes]") -> None:
    async with joined(sweep_seconds=0.05), joined(sweep_seconds=0.05):
        with trio.fail_after(10):
            while (holder := client.get("restms:{default}:lease")) is None:
                await trio.sleep(0.02)
        assert client.get("restms:{default}:lease") == holder


async def test_a_configured_feed_must_not_contradict_what_is_there(broker: Broker) -> None:
    await feeds.create(broker, DEFAULT, "news", "")
    wrong = ConfiguredDomain(DEFAULT, "", (DEFAULT_FEED, ConfiguredFeed("news", "topic")))
    with pytest.raises(StartError, match=r'"news".*type'):
        await domains.configure(broker, wrong)


async def test_without_keyspace_events_and_config_the_scripts_publish_the_hints(
    joined: Joined, client: "redis.Redis[bytes]", operations_server: Server
) -> None:
    client.config_set("notify-keyspace-events", "")
    client.acl_setuser(
        "managed",
        enabled=True,
        passwords=["+pw"],
        keys=["*"],
        channels=["*"],
        commands=["+@all", "-config"],
    )
    url = operations_server.url.replace("unix://", "unix://managed:pw@")
    async with joined(url=url) as broker, joined(url=url) as other:
        assert broker.shards.home("default").notifications.mode is Mode.PUBLISHED
        assert await member.ready(broker)
        pipe = (await pipes.create(broker, DEFAULT, "")).token
        async with broker.shards.watch(pipes.hints(pipe)) as watch:
            await messages.publish(other, FEED, [Draft({"address": str(pipe)})])
            assert await watch.wakeup(5)


async def test_a_server_that_stops_sending_events_is_noticed(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined() as broker:
        assert await member.ready(broker)
        client.config_set("notify-keyspace-events", "")
        assert not await member.ready(broker)
        await member.establish(broker)
        assert await member.ready(broker)
        assert (
            b"t" in client.config_get("notify-keyspace-events")["notify-keyspace-events"].encode()
        )
