"""Reading a pipe's messages in volume."""

from collections.abc import Sequence

import cbor2
import pytest

from restms_cluster import contents, feeds, joins, messages, pipes
from restms_cluster.broker import Broker
from restms_cluster.errors import NotFoundError
from restms_cluster.inbox import Delivered, Inbox
from restms_cluster.model import Draft, Embedded, Message, Stored
from restms_cluster.names import DEFAULT, FeedName, Token
from restms_cluster.readers import Pull
from restms_cluster.terms import PLAIN, Terms
from tests.operations.conftest import round_trips
from tests.waiting import until

FEED = FeedName(DEFAULT, DEFAULT)
ROOM = 1_000_000


async def new_pipe(broker: Broker, kind: str = "") -> Token:
    return (await pipes.create(broker, DEFAULT, kind)).token


async def publish(
    broker: Broker, feed: FeedName, address: str, *ids: str, terms: Terms = PLAIN
) -> None:
    drafts = [Draft({"address": address, "message_id": each}, terms=terms) for each in ids]
    await messages.publish(broker, feed, drafts)


def ids(found: Sequence[Delivered]) -> list[str]:
    """Return the message_id of each message, in whatever form it is."""
    return [
        cbor2.loads(message)["message_id"]
        if isinstance(message, bytes)
        else message.properties["message_id"]
        for _, message in found
    ]


async def test_an_inbox_goes_on_where_it_is(broker: Broker, other: Broker) -> None:
    pipe = await new_pipe(broker)
    await publish(broker, FEED, str(pipe), *"abcde")
    async with Inbox(other, pipe) as box:
        first = await box.read(Pull.TAKE, 3, ROOM)
        assert ids(first) == ["a", "b", "c"]
        assert [number for number, _ in first] == [b"1", b"2", b"3"]
        assert ids(await box.read(Pull.TAKE, 3, ROOM)) == ["d", "e"]
        assert await box.read(Pull.TAKE, 3, ROOM) == []
        await messages.delete(broker, pipe.message(5))
        await publish(broker, FEED, str(pipe), "f")
        assert ids(await box.read(Pull.TAKE, 3, ROOM)) == ["f"]
    async with Inbox(other, pipe, after=5) as box:
        assert ids(await box.read(Pull.TAKE, 3, ROOM)) == ["f"]


@pytest.mark.usefixtures("nothing_is_due")
async def test_a_batch_takes_one_round_trip(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    await publish(broker, FEED, str(pipe), *map(str, range(1000)))
    before = round_trips(broker)
    async with Inbox(broker, pipe) as box:
        assert len(await box.read(Pull.TAKE, 1000, ROOM)) == 1000
    assert round_trips(broker) == before + 1


async def test_contents_are_embedded_as_they_are_for_a_single_reader(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    large, small = b"x" * 100_000, b"y" * 1000
    draft = Draft({"address": str(pipe)}, contents=(Embedded("a/b", large), Embedded("a/b", small)))
    await messages.publish(broker, FEED, [draft])
    async with Inbox(broker, pipe) as box:
        ((number, message),) = await box.read(Pull.TAKE, 10, ROOM)
    assert isinstance(message, Message)
    token = pipe.message(int(number))
    assert message.contents == (Stored(token.part(1), "a/b", 100_000), Embedded("a/b", small))
    await contents.delete(broker, token.part(2))
    async with Inbox(broker, pipe) as box:
        ((_, thinned),) = await box.read(Pull.TAKE, 10, ROOM)
    assert isinstance(thinned, Message)
    assert thinned.contents == message.contents[:1]


@pytest.mark.usefixtures("nothing_is_due")
async def test_expired_messages_are_passed_over_however_many(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    await publish(broker, FEED, str(pipe), *map(str, range(20)), terms=Terms(life=1))
    await publish(broker, FEED, str(pipe), "stays")

    async def found() -> bool:
        async with Inbox(broker, pipe) as box:
            return ids(await box.read(Pull.TAKE, 5, ROOM)) == ["stays"]

    await until(found)


async def test_an_ondemand_pipe_takes_one(broker: Broker, other: Broker) -> None:
    pipe = await new_pipe(broker, "ondemand")
    feed, _ = await feeds.create(broker, DEFAULT, "jobs", "rotator")
    await joins.create(broker, pipe, feed.name)
    await publish(broker, feed.name, "", "a", "b")
    async with Inbox(broker, pipe) as looking:
        assert await looking.read(Pull.NOTHING, 10, ROOM) == []
    async with Inbox(other, pipe) as box, Inbox(broker, pipe) as again:
        assert ids(await box.read(Pull.TAKE, 10, ROOM)) == ["a"]
        assert await box.read(Pull.TAKE, 10, ROOM) == []
        assert ids(await again.read(Pull.TAKE, 10, ROOM)) == ["a"]
        await messages.delete(broker, pipe.message(1))
        assert ids(await box.read(Pull.TAKE, 10, ROOM)) == ["b"]
    await feeds.delete(broker, feed.name)


async def test_who_went_is_called_no_more(broker: Broker, other: Broker) -> None:
    gone, stays = await new_pipe(broker, "ondemand"), await new_pipe(broker, "ondemand")
    feed, _ = await feeds.create(broker, DEFAULT, "jobs", "rotator")
    for pipe in (gone, stays):
        await joins.create(broker, pipe, feed.name)
    async with Inbox(broker, gone) as box:
        assert await box.read(Pull.WAIT, 10, ROOM) == []
    async with Inbox(other, stays) as box:
        assert await box.read(Pull.WAIT, 10, ROOM) == []
        await publish(broker, feed.name, "", "a")
        assert ids(await box.read(Pull.WAIT, 10, ROOM)) == ["a"]
    await feeds.delete(broker, feed.name)


async def test_a_pipe_that_is_deleted_is_not_found(broker: Broker) -> None:
    pipe = await new_pipe(broker)
    async with Inbox(broker, pipe) as box:
        assert await box.read(Pull.WAIT, 10, ROOM) == []
        await pipes.delete(broker, pipe)
        with pytest.raises(NotFoundError):
            await box.read(Pull.WAIT, 10, ROOM)
