"""Contents of many chunks: uploaded, read in part, freed, and left half way."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
import trio

from restms_cluster import contents, feeds, joins, messages, pipes, uploads
from restms_cluster.broker import Broker
from restms_cluster.errors import (
    BadRequestError,
    KeyReusedError,
    NotFoundError,
    StateUnavailableError,
    TooLargeError,
)
from restms_cluster.model import Draft, Staged
from restms_cluster.names import DEFAULT, FeedName, Token
from restms_cluster.sweep import sweep
from tests.operations.conftest import Joined, bytes_of, round_trips, stage
from tests.waiting import until

FEED = FeedName(DEFAULT, DEFAULT)
CHUNK = 10
LOOSE = "restms:{default}:loose"

Client = "redis.Redis[bytes]"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks need not be many bytes."""
    monkeypatch.setattr(contents, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(uploads, "CHUNK_BYTES", CHUNK)


def some_bytes(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


def keys(client: Client) -> list[bytes]:
    return client.keys("*:content:*")


async def broken(data: bytes, error: Exception) -> AsyncGenerator[bytes]:
    """What comes of an upload that ends before it is whole."""
    yield data
    raise error


async def upload(
    broker: Broker, pieces: AsyncGenerator[bytes], *, feed: FeedName = FEED, key: str = ""
) -> Token:
    async with aclosing(pieces):
        return await uploads.stage(broker, feed, "a/b", pieces, pause_seconds=30, key=key)


async def published(broker: Broker, content: Token, *readers: Token) -> None:
    drafts = [Draft({"address": str(pipe)}, contents=(Staged(content),)) for pipe in readers]
    await messages.publish(broker, FEED, drafts)


async def freed(broker: Broker, client: Client) -> None:
    """Let the sweep do what is due."""
    client.delete("restms:{default}:lease")
    await sweep(broker, DEFAULT, 1)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 7 * CHUNK + 3])
@pytest.mark.parametrize("piece", [1, CHUNK, 35])
async def test_a_content_of_any_size_comes_out_as_it_went_in(
    broker: Broker, other: Broker, client: Client, size: int, piece: int
) -> None:
    data = some_bytes(size)

    async def pieces() -> AsyncGenerator[bytes]:
        for i in range(0, size, piece):
            yield data[i : i + piece]

    token = await upload(broker, pieces())
    found = await contents.read(other, token)
    assert (found.type, found.size) == ("a/b", size)
    assert await bytes_of(other, token) == data
    for first in range(size):
        assert await bytes_of(other, token, first, size - 1) == data[first:]
        assert await bytes_of(other, token, 0, first) == data[: first + 1]
    await contents.delete(other, token)
    assert keys(client) == []


async def test_a_content_is_there_only_when_it_is_whole(broker: Broker, client: Client) -> None:
    seen: list[str] = []

    async def pieces() -> AsyncGenerator[bytes]:
        yield some_bytes(5 * CHUNK)
        (secret,) = {key.decode().split(":")[3] for key in keys(client)}
        token = Token.parse(f"c{secret}")
        with pytest.raises(NotFoundError):
            await contents.read(broker, token)
        with pytest.raises(NotFoundError):
            await published(broker, token, token)
        await contents.delete(broker, token)  # which does not find it either
        seen.append(secret)
        yield b"the end"

    token = await upload(broker, pieces())
    assert seen == [token.secret]
    assert await bytes_of(broker, token) == some_bytes(5 * CHUNK) + b"the end"


@pytest.mark.parametrize("size", [1, CHUNK, 5 * CHUNK, 500 * CHUNK])
@pytest.mark.parametrize("error", [BadRequestError("slow"), TooLargeError("large"), OSError()])
async def test_a_broken_upload_leaves_nothing(
    broker: Broker, client: Client, size: int, error: Exception
) -> None:
    with pytest.raises(type(error)):
        await upload(broker, broken(some_bytes(size), error))
    assert keys(client) == []
    assert not client.exists(LOOSE)


async def test_an_upload_whose_client_goes_leaves_nothing(broker: Broker, client: Client) -> None:
    begun = trio.Event()

    async def pieces() -> AsyncGenerator[bytes]:
        yield some_bytes(50 * CHUNK)
        begun.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload, broker, pieces())
        await begun.wait()
        assert len(keys(client)) == 50  # of them one is the record; the last chunk is held back
        nursery.cancel_scope.cancel()
    assert keys(client) == []
    assert not client.exists(LOOSE)


async def test_what_a_killed_node_left_is_freed_in_steps_when_its_time_is_over(
    broker: Broker, other: Broker, client: Client
) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield some_bytes(1000 * CHUNK)
        await freed(other, client)
        assert len(keys(client)) == 1000  # its time is not over
        (content,) = client.zrange(LOOSE, 0, -1)
        client.zadd(LOOSE, {content: 0})
        steps = round_trips(other)
        await freed(other, client)
        assert round_trips(other) - steps >= 4
        assert keys(client) == []
        yield some_bytes(100)

    with pytest.raises(BadRequestError, match="too long"):  # the node was not killed after all
        await upload(broker, pieces())
    assert keys(client) == []


async def test_an_upload_that_comes_slowly_is_kept(broker: Broker, client: Client) -> None:
    dues: list[float] = []

    async def pieces() -> AsyncGenerator[bytes]:
        yield some_bytes(2 * CHUNK)
        for _ in range(3):
            ((_, due),) = client.zrange(LOOSE, 0, -1, withscores=True)
            dues.append(due)
            await trio.sleep(0.03)
            yield b"x"

    await uploads.stage(broker, FEED, "a/b", pieces(), pause_seconds=0.02)
    assert dues == sorted(set(dues))


async def test_a_feed_that_goes_ends_an_upload_to_it(broker: Broker, client: Client) -> None:
    feed, _ = await feeds.create(broker, DEFAULT, "news", "")

    async def pieces() -> AsyncGenerator[bytes]:
        yield some_bytes(5 * CHUNK)
        await feeds.delete(broker, feed.name)
        while True:
            yield some_bytes(CHUNK)

    with pytest.raises(NotFoundError):
        await upload(broker, pieces(), feed=feed.name)
    assert keys(client) == []


async def test_an_upload_that_fills_redis_is_refused_and_freed(
    broker: Broker, client: Client
) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield some_bytes(5 * CHUNK)
        client.config_set("maxmemory", 1)
        while True:
            yield some_bytes(CHUNK)

    try:
        with pytest.raises(StateUnavailableError):
            await upload(broker, pieces())
    finally:
        client.config_set("maxmemory", 0)
    assert keys(client) == []


@pytest.mark.parametrize("size", [CHUNK, 5 * CHUNK])
async def test_a_key_is_for_one_content_however_it_comes(
    broker: Broker, other: Broker, client: Client, size: int
) -> None:
    data = some_bytes(size)

    async def in_bytes() -> AsyncGenerator[bytes]:
        for i in range(size):
            yield data[i : i + 1]

    first = await stage(broker, FEED, "a/b", data, key="key")
    there = len(keys(client))
    assert await upload(other, in_bytes(), key="key") == first
    for kind, other_data in (("a/b", data + b"x"), ("a/b", data[:-1] + b"x"), ("a/c", data)):
        with pytest.raises(KeyReusedError):
            await stage(other, FEED, kind, other_data, key="key")
    assert len(keys(client)) == there
    assert await bytes_of(broker, first) == data


async def test_a_content_of_many_chunks_goes_with_its_last_message(
    broker: Broker, client: Client
) -> None:
    one, two = [(await pipes.create(broker, DEFAULT, "")).token for _ in range(2)]
    fanout, _ = await feeds.create(broker, DEFAULT, "all", "fanout")
    content = await stage(broker, fanout.name, "a/b", some_bytes(500 * CHUNK))
    for pipe in (one, two):
        await joins.create(broker, pipe, fanout.name)
    await messages.publish(broker, fanout.name, [Draft({}, contents=(Staged(content),))])
    assert not client.exists(LOOSE)  # it does not expire
    assert len(keys(client)) == 501
    await messages.delete(broker, one.message(1))
    assert await bytes_of(broker, two.message(1).part(1)) == some_bytes(500 * CHUNK)
    await messages.delete(broker, two.message(1))
    assert 0 < len(keys(client)) < 500  # in steps, so that Redis never stalls
    await freed(broker, client)
    assert keys(client) == []
    assert not client.exists(LOOSE)


@pytest.mark.parametrize("size", [5 * CHUNK, 500 * CHUNK])
async def test_a_reader_is_told_when_a_content_goes_while_it_is_read(
    broker: Broker, client: Client, size: int
) -> None:
    pipe = (await pipes.create(broker, DEFAULT, "")).token
    await published(broker, await stage(broker, FEED, "a/b", some_bytes(size)), pipe)
    part = pipe.message(1).part(1)
    found = await contents.read(broker, part)
    pieces = contents.pieces(broker, part, found)
    assert await anext(pieces) == some_bytes(CHUNK)
    await messages.delete(broker, pipe.message(1))
    with pytest.raises(NotFoundError):
        await anext(pieces)
    await freed(broker, client)
    assert keys(client) == []


async def test_reading_a_content_keeps_its_pipe_in_use(joined: Joined, client: Client) -> None:
    async with joined(idle_seconds=1) as broker:
        pipe = (await pipes.create(broker, DEFAULT, "")).token
        await published(broker, await stage(broker, FEED, "a/b", some_bytes(100 * CHUNK)), pipe)
        part = pipe.message(1).part(1)
        found = await contents.read(broker, part)
        reading = contents.pieces(broker, part, found)
        with trio.move_on_after(1.6):
            async for _ in reading:
                await trio.sleep(0.02)
                await freed(broker, client)
        assert await contents.read(broker, part)
        await reading.aclose()


async def test_a_chunk_that_was_lost_is_noticed(broker: Broker, client: Client) -> None:
    content = await stage(broker, FEED, "a/b", some_bytes(5 * CHUNK))
    client.delete(f"restms:{{default}}:content:{content.secret}:3")
    with pytest.raises(StateUnavailableError):
        await bytes_of(broker, content)


async def test_a_staged_content_of_many_chunks_expires(joined: Joined, client: Client) -> None:
    async with joined(staged_seconds=0.05, sweep_seconds=0.05) as broker:
        content = await stage(broker, FEED, "a/b", some_bytes(500 * CHUNK))
        await until(lambda: not keys(client))
        with pytest.raises(NotFoundError):
            await contents.read(broker, content)
