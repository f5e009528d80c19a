"""The number of round trips to Redis is part of the design: it must not grow unseen."""

import pytest

from restms_cluster import joins, messages, pipes, readers
from restms_cluster.broker import Broker
from restms_cluster.model import Draft, Embedded
from restms_cluster.names import DEFAULT, FeedName
from tests.operations.conftest import round_trips, stage

pytestmark = pytest.mark.usefixtures("nothing_is_due")

FEED = FeedName(DEFAULT, DEFAULT)


def drafts(address: str, count: int, size: int = 10) -> list[Draft]:
    return [
        Draft({"address": address}, contents=(Embedded("text/plain", "x" * size),))
        for _ in range(count)
    ]


async def test_publishing_reading_and_acknowledging_take_one_each(broker: Broker) -> None:
    pipe = await pipes.create(broker, DEFAULT, "")
    name = str(pipe.token)

    before = round_trips(broker)
    await messages.publish(broker, FEED, drafts(name, 1))
    assert round_trips(broker) == before + 1
    await messages.publish(broker, FEED, drafts(name, 1000))
    assert round_trips(broker) == before + 2
    await readers.read(broker, pipe.token.message(1))
    assert round_trips(broker) == before + 3
    await messages.delete(broker, pipe.token.message(1001))
    assert round_trips(broker) == before + 4


async def test_a_large_embedded_content_costs_no_round_trip_more(broker: Broker) -> None:
    pipe = await pipes.create(broker, DEFAULT, "")
    before = round_trips(broker)
    await messages.publish(broker, FEED, drafts(str(pipe.token), 3, size=300_000))
    assert round_trips(broker) == before + 1


async def test_pipes_joins_and_contents_take_one_each(broker: Broker) -> None:
    before = round_trips(broker)
    pipe = await pipes.create(broker, "sales", "")
    await joins.create(broker, pipe.token, FeedName("sales", "orders"), address="x")
    await stage(broker, FEED, "image/png", b"pixels")
    await pipes.read(broker, pipe.token)
    await pipes.delete(broker, pipe.token)
    assert round_trips(broker) == before + 5
