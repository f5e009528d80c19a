"""What is promised to publishers, by levels, on a real primary and a real replica."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from restms_cluster import feeds, joins, member, messages, pipes
from restms_cluster.address import Address
from restms_cluster.broker import Broker
from restms_cluster.errors import StartError, UnavailableError
from restms_cluster.levels import Durability, Level, TooFewReplicasError
from restms_cluster.link import LostError
from restms_cluster.model import (
    ConfiguredDomain,
    ConfiguredFeed,
    Draft,
    Embedded,
    Limits,
    Pipe,
    Receipt,
)
from restms_cluster.names import FeedName
from tests.servers import Server, start_replica, start_server

SAFE, FAST, KNOWN = (FeedName("default", name) for name in ("safe", "fast", "known"))
DOMAINS = (
    ConfiguredDomain(
        "default",
        "",
        (
            ConfiguredFeed("default"),
            ConfiguredFeed("safe", "fanout"),
            ConfiguredFeed("fast", "fanout"),
            ConfiguredFeed("known", "fanout", dedup="60"),
        ),
    ),
)
REPLICAS = {SAFE: Level.REPLICAS, KNOWN: Level.REPLICAS}


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_server(tmp_path_factory.mktemp("primary"), tcp=True)
    yield server
    server.close()


@pytest.fixture(scope="module")
def module_replica(primary: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_replica(tmp_path_factory.mktemp("replica"), primary)
    yield server
    server.close()


@pytest.fixture
def replica(module_replica: Server) -> Iterator[Server]:
    yield module_replica
    module_replica.resume()


@asynccontextmanager
async def joined(server: Server, durability: Durability) -> AsyncIterator[Broker]:
    async with trio.open_nursery() as nursery:
        run = partial(
            member.run,
            Address.parse(server.url),
            DOMAINS,
            Limits(),
            sweep_seconds=60,
            timeout_seconds=5,
            durability=durability,
        )
        yield await nursery.start(run)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def broker(primary: Server, replica: Server) -> AsyncIterator[Broker]:
    with primary.client() as client:
        client.flushall()
    durability = Durability(feeds=REPLICAS, replica_seconds=0.2)
    async with joined(primary, durability) as one:
        yield one


async def reader(broker: Broker, *sources: FeedName) -> Pipe:
    pipe = await pipes.create(broker, "default", "")
    for feed in sources:
        await joins.create(broker, pipe.token, feed, "", "", ())
    return pipe


async def publish(
    broker: Broker, feed: FeedName, *texts: str, key: str = "", message_id: str = ""
) -> Receipt:
    properties = {"message_id": message_id} if message_id else {}
    drafts = [Draft(properties, (), (Embedded("text/plain", text),)) for text in texts]
    return await messages.publish(broker, feed, drafts, key)


async def held(broker: Broker, pipe: Pipe) -> int:
    return len((await pipes.read(broker, pipe.token)).messages)


def waits(server: Server) -> int:
    with server.client() as client:
        stats = client.info("commandstats")
    return int(stats.get("cmdstat_wait", {"calls": 0})["calls"])


async def test_a_message_is_known_to_replicas_before_its_publisher_knows(
    broker: Broker, replica: Server
) -> None:
    pipe = await reader(broker, SAFE, FAST)
    assert (await publish(broker, FAST, "a")).level is Level.NODE
    replica.pause()
    with pytest.raises(TooFewReplicasError):
        await publish(broker, SAFE, "b")
    await publish(broker, FAST, "c")
    replica.resume()
    assert (await publish(broker, SAFE, "d")).level is Level.REPLICAS
    # What its publisher was not told of is in all the same.
    assert await held(broker, pipe) == 4
    with replica.client() as client:
        key = f"restms:{{default}}:pipe:{pipe.token.secret}:messages"
        assert client.xlen(key) == 4


async def test_a_repeat_waits_for_what_it_repeats(broker: Broker, replica: Server) -> None:
    pipe = await reader(broker, SAFE, KNOWN)
    replica.pause()
    for _ in range(2):
        with pytest.raises(TooFewReplicasError):
            await publish(broker, SAFE, "once", key="k")
        with pytest.raises(TooFewReplicasError):
            await publish(broker, KNOWN, "once", message_id="m")
    replica.resume()
    await publish(broker, SAFE, "once", key="k")
    await publish(broker, KNOWN, "once", message_id="m")
    assert await held(broker, pipe) == 2


async def test_a_repeat_at_another_node_waits_as_well(
    broker: Broker, primary: Server, replica: Server
) -> None:
    await reader(broker, SAFE)
    async with joined(primary, Durability(Level.REPLICAS, replica_seconds=0.2)) as other:
        await publish(other, SAFE, "before")  # its connection has written something
        replica.pause()
        with pytest.raises(TooFewReplicasError):
            await publish(broker, SAFE, "once", key="k")
        with pytest.raises(TooFewReplicasError):
            await publish(other, SAFE, "once", key="k")


async def test_many_wait_together(broker: Broker, primary: Server) -> None:
    pipe = await reader(broker, SAFE)
    before = waits(primary)
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(publish, broker, SAFE, str(number))
    assert await held(broker, pipe) == 100
    assert 1 <= waits(primary) - before <= 5
    before = waits(primary)
    await publish(broker, FAST, "x")
    assert waits(primary) == before


async def test_what_one_of_them_is_refused_is_the_others_business_no_more_than_ever(
    broker: Broker,
) -> None:
    """Calls of a group are answered each for itself."""
    pipe = await reader(broker, SAFE)
    done: list[str] = []

    async def one(text: str, key: str) -> None:
        try:
            await publish(broker, SAFE, text, key=key)
            done.append("in")
        except Exception as error:  # noqa: BLE001, told below
            done.append(type(error).__name__)

    async with trio.open_nursery() as nursery:
        for text in "abc":
            nursery.start_soon(one, text, "the same key")
    assert sorted(done) == ["KeyReusedError", "KeyReusedError", "in"]
    assert await held(broker, pipe) == 1


async def test_a_large_content_is_safe_with_its_message(broker: Broker, replica: Server) -> None:
    pipe = await reader(broker, SAFE)
    await publish(broker, SAFE, "x" * 100_000)
    with replica.client() as client:
        (entry,) = client.xrange(f"restms:{{default}}:pipe:{pipe.token.secret}:messages")
        content = client.hget(f"restms:{{default}}:body:{entry[1][b'b'].decode()}", "c")
        assert content is not None
        assert client.hget(f"restms:{{default}}:content:{content.decode()}", "size") == b"100000"


async def test_calls_end_with_their_primary(tmp_path: Path) -> None:
    """Nobody is left waiting when the primary goes."""
    server = start_server(tmp_path, tcp=True)
    try:
        async with joined(server, Durability(Level.REPLICAS, replica_seconds=4)) as broker:
            await reader(broker, SAFE)
            failed = trio.Event()

            async def last() -> None:
                with pytest.raises(UnavailableError):
                    await publish(broker, SAFE, "x")
                failed.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(last)
                with server.client() as client, trio.fail_after(5):
                    while not client.info("clients")["blocked_clients"]:
                        await trio.sleep(0.005)
                server.kill()
                with trio.fail_after(3):
                    await failed.wait()
    finally:
        server.close()


async def start_fails(server: Server, durability: Durability) -> str:
    with pytest.RaisesGroup(StartError, flatten_subgroups=True, allow_unwrapped=True) as caught:
        async with joined(server, durability):
            pass
    found: BaseException = caught.value
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return str(found)


async def publish_for_ever(broker: Broker, feed: FeedName) -> None:
    with trio.fail_after(5):
        while True:
            try:
                await publish(broker, feed, "y")
            except LostError:
                continue  # it was on its way when the link went


async def test_the_disk_is_promised_where_redis_writes_there_first(primary: Server) -> None:
    durability = Durability(feeds={SAFE: Level.DISK})
    with primary.client() as client:
        client.flushall()
        assert "appendonly is not yes" in await start_fails(primary, durability)
        client.config_set("appendonly", "yes")
        assert "appendfsync is not always" in await start_fails(primary, durability)
        client.config_set("appendfsync", "always")
        try:
            async with joined(primary, durability) as broker:
                await reader(broker, SAFE, FAST)
                assert (await publish(broker, SAFE, "x")).level is Level.DISK
                # Another server takes over, or this one is set up anew and restarted.
                client.config_set("appendfsync", "everysec")
                client.client_kill_filter(_type="normal", skipme=True)
                with pytest.raises(UnavailableError, match="appendfsync is not always"):
                    await publish_for_ever(broker, SAFE)
                await publish(broker, FAST, "z")
        finally:
            client.config_set("appendonly", "no")


async def test_replicas_have_less_time_than_redis(primary: Server) -> None:
    durability = Durability(Level.REPLICAS, replica_seconds=5)
    assert "less time" in await start_fails(primary, durability)


async def test_a_feed_of_a_client_has_the_level_of_the_server(
    primary: Server, replica: Server
) -> None:
    durability = Durability(Level.REPLICAS, replica_seconds=0.2)
    async with joined(primary, durability) as broker:
        feed, _ = await feeds.create(broker, "default", "own", "fanout")
        assert (await publish(broker, feed.name, "x")).level is Level.REPLICAS


def test_levels_add_up() -> None:
    durability = Durability(Level.DISK, {SAFE: Level.REPLICAS, FAST: Level.NODE})
    assert str(durability.of(SAFE)) == "disk+replicas"
    assert str(durability.of(FAST)) == "disk"
    assert str(durability.of(KNOWN)) == "disk"
