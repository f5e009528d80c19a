"""Publishing on one node, reading on another."""

import pytest
import redis
import trio

from restms_cluster import contents, feeds, joins, messages, pipes, readers
from restms_cluster.broker import Broker
from restms_cluster.errors import (
    ForbiddenError,
    FullError,
    KeyReusedError,
    NotFoundError,
    PreconditionFailedError,
)
from restms_cluster.model import Condition, Draft, Embedded, Header, Message, Packed, Staged, Stored
from restms_cluster.names import DEFAULT, FeedName, Token
from restms_cluster.transitions import TRANSITIONS
from tests.operations.conftest import Joined, bytes_of, stage

FEED = FeedName(DEFAULT, DEFAULT)


async def new_pipe(broker: Broker) -> Token:
    return (await pipes.create(broker, DEFAULT, "")).token


async def read(broker: Broker, token: Token) -> Message:
    found = await readers.read(broker, token)
    assert isinstance(found, Message)
    return found


async def test_what_is_published_on_one_node_is_read_on_another(
    broker: Broker, other: Broker
) -> None:
    pipe = await new_pipe(broker)
    draft = Draft(
        {"address": str(pipe), "message_id": "7", "reply_to": "me"},
        (Header("colour", "rød"),),
        (Embedded("text/plain", "hello"), Embedded("image/png", b"\x00\xff")),
    )
    assert [(r.count, r.full) for r in (await messages.publish(broker, FEED, [draft])).routed] == [
        (1, 0)
    ]
    message = await read(other, pipe.message(1))
    assert message.properties == draft.properties
    assert message.headers == draft.headers
    assert message.contents == draft.contents
    assert await readers.read(other, pipe.message(2)) is None


async def test_a_wiped_script_cache_is_no_obstacle(
    broker: Broker, client: "redis.Redis[bytes]"
) -> None:
    pipe = await new_pipe(broker)
    client.script_flush()
    big = Draft({"address": str(pipe)}, contents=(Embedded("a/b", b"x" * 100_000),))
    await messages.publish(broker, FEED, [big])
    client.script_flush()
    assert (await read(broker, pipe.message(1))).contents == (
        Stored(pipe.message(1).part(1), "a/b", 100_000),
    )


async def test_one_load_of_the_scripts_serves_all_who_miss_them(
    broker: Broker, client: "redis.Redis[bytes]"
) -> None:
    pipe = await new_pipe(broker)
    client.script_flush()
    client.config_resetstat()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(pipes.read, broker, pipe)  # each a call of its own
            nursery.start_soon(readers.read, broker, pipe.message(1))
    loads = client.info("commandstats")["cmdstat_script|load"]["calls"]
    assert loads == len(TRANSITIONS)


async def test_readers_of_large_messages_do_not_get_them_all_in_one_answer(
    broker: Broker, client: "redis.Redis[bytes]"
) -> None:
    pipe = await new_pipe(broker)
    headers = tuple(Header(f"h{number}", "x" * 4000) for number in range(250))  # 1 MB
    await messages.publish(broker, FEED, [Draft({"address": str(pipe)}, headers)])
    client.config_resetstat()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(read, broker, pipe.message(1))
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] > 5


async def test_staged_contents_come_back_as_they_were(broker: Broker, other: Broker) -> None:
    pipe = await new_pipe(broker)
    small = await stage(broker, FEED, "image/png", b"pixels")
    large = await stage(other, FEED, "video/mp4", bytes(range(256)) * 4096)
    assert (await contents.read(other, small)).data == b"pixels"
    parts = (Staged(large), Embedded("text/plain", "between"), Staged(small))
    await messages.publish(broker, FEED, [Draft({"address": str(pipe)}, contents=parts)])
    token = pipe.message(1)
    assert (await read(other, token)).contents == (
        Stored(token.part(1), "video/mp4", 1 << 20),
        Embedded("text/plain", "between"),
        Embedded("image/png", b"pixels"),
    )
    assert await bytes_of(other, token.part(1)) == bytes(range(256)) * 4096
    assert (await contents.read(other, token.part(2))).data == b"between"
    with pytest.raises(NotFoundError):
        await contents.read(other, token.part(4))
    with pytest.raises(NotFoundError):
        await contents.read(other, small)  # now it is the message's


async def test_an_empty_content_is_one_too(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    empty = await stage(broker, FEED, "text/plain", b"")
    await messages.publish(broker, FEED, [Draft({"address": str(pipe)}, contents=(Staged(empty),))])
    assert (await read(broker, pipe.message(1))).contents == (Embedded("text/plain", b""),)


async def test_a_content_can_be_taken_out_of_a_message(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    parts = tuple(Embedded("text/plain", text) for text in ("one", "two", "three"))
    await messages.publish(broker, FEED, [Draft({"address": str(pipe)}, contents=parts)])
    before = await read(broker, pipe.message(1))
    for part in (2, 2, 4, 99):  # again, or what is not there: no matter
        await contents.delete(broker, pipe.message(1).part(part))
    after = await read(broker, pipe.message(1))
    assert after.contents == (parts[0], parts[2])
    assert after.version == before.version + 1  # so that a cached copy is seen to be old
    changed = Condition(versions=frozenset({before.version}))
    with pytest.raises(PreconditionFailedError):
        await messages.delete(broker, pipe.message(1), changed)
    with pytest.raises(NotFoundError):
        await contents.read(broker, pipe.message(1).part(2))
    assert isinstance(await readers.read(broker, pipe.message(1), packed=True), Message)


async def test_the_stored_form_is_given_out_where_it_says_all(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    await messages.publish(broker, FEED, [Draft({"address": str(pipe), "message_id": "1"})])
    found = await readers.read(broker, pipe.message(1), packed=True)
    assert isinstance(found, Packed)


async def test_a_request_is_routed_whole_or_not_at_all(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    news, _ = await feeds.create(broker, DEFAULT, "news", "")
    elsewhere = await stage(broker, news.name, "a/b", b"x")
    in_sales = await stage(broker, FeedName("sales", DEFAULT), "a/b", b"x")
    good = Draft({"address": str(pipe)})
    for content, error in (
        (elsewhere, ForbiddenError),
        (in_sales, ForbiddenError),
        (pipe, NotFoundError),
        (Token.parse("c" + "0" * 32), NotFoundError),
    ):
        with pytest.raises(error):
            await messages.publish(
                broker, FEED, [good, Draft({"address": "x"}, contents=(Staged(content),))]
            )
    assert await readers.read(broker, pipe.message(1)) is None


async def test_a_refused_request_leaves_none_of_its_contents(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined(messages_per_pipe=1) as broker:
        pipe = await new_pipe(broker)
        big = Draft({"address": str(pipe)}, contents=(Embedded("a/b", b"x" * 300_000),))
        await messages.publish(broker, FEED, [big])
        with pytest.raises(FullError):
            await messages.publish(broker, FEED, [big])
        assert len(client.keys("*:content:*")) == 3  # one content of two chunks


async def test_a_key_is_for_one_request_with_all_its_contents(broker: Broker) -> None:
    pipe = await new_pipe(broker)

    def large(letter: bytes) -> Draft:
        return Draft({"address": str(pipe)}, contents=(Embedded("a/b", letter * 100_000),))

    first = await messages.publish(broker, FEED, [large(b"A")], "key")
    assert await messages.publish(broker, FEED, [large(b"A")], "key") == first
    with pytest.raises(KeyReusedError):
        await messages.publish(broker, FEED, [large(b"B")], "key")
    assert await readers.read(broker, pipe.message(2)) is None


async def test_a_full_pipe_refuses_and_the_publisher_is_told(joined: Joined) -> None:
    async with joined(messages_per_pipe=2) as broker:
        pipe = await new_pipe(broker)
        draft = Draft({"address": str(pipe)})
        await messages.publish(broker, FEED, [draft, draft])
        with pytest.raises(FullError):
            await messages.publish(broker, FEED, [draft])
        await messages.delete(broker, pipe.message(1))
        await messages.publish(broker, FEED, [draft])


async def test_acknowledging_checks_what_the_client_read(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    await messages.publish(broker, FEED, [Draft({"address": str(pipe)})])
    version = (await read(broker, pipe.message(1))).version
    with pytest.raises(PreconditionFailedError):
        await messages.delete(broker, pipe.message(1), Condition(versions=frozenset()))
    await messages.delete(broker, pipe.message(1), Condition(versions=frozenset({version, 1})))
    with pytest.raises(NotFoundError):
        await readers.read(broker, pipe.message(1))


async def test_thousands_of_shared_messages_are_acknowledged_in_one_call(broker: Broker) -> None:
    news, _ = await feeds.create(broker, DEFAULT, "news", "")
    one, another = await new_pipe(broker), await new_pipe(broker)
    for pipe in (one, another):
        await joins.create(broker, pipe, news.name, address="x")
    await messages.publish(broker, news.name, [Draft({"address": "x"})] * 3500)
    await messages.delete(broker, one.message(3500))
    assert await readers.read(broker, one.message(3501)) is None
    assert (await pipes.read(broker, one)).messages == ()
    assert await readers.read(broker, another.message(3500)) is not None


async def test_a_domain_is_a_world_of_its_own(broker: Broker) -> None:
    pipe = (await pipes.create(broker, "sales", "")).token
    assert str(pipe).startswith("sales.p")
    orders = FeedName("sales", "orders")
    await joins.create(broker, pipe, orders, address="x")
    assert [
        r.count for r in (await messages.publish(broker, orders, [Draft({"address": "x"})])).routed
    ] == [1]
    assert await readers.read(broker, Token.parse(f"{pipe}-1")) is not None
    with pytest.raises(ForbiddenError):
        await joins.create(broker, pipe, FEED, address="x")
    with pytest.raises(NotFoundError):
        await pipes.create(broker, "nowhere", "")
    await pipes.delete(broker, pipe)
