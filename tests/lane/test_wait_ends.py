"""How a wait ends, and what wakes it, as the metrics have it."""

import pytest
import trio

from restms_cluster.broker import Broker
from restms_cluster.errors import (
    DrainingError,
    NotFoundError,
    RestMSError,
    StateUnavailableError,
    UnavailableError,
)
from restms_node.gate import LapsedError
from restms_node.waiting import LAPSED, OUTCOMES, Waits

PIPE = "restms:{default}:pipe:a:messages"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DrainingError("going"), "drained"),
        (NotFoundError("nothing"), "gone"),
        (LapsedError("ended", ()), "lapsed"),
        (StateUnavailableError("away"), "failed"),
        (ValueError(), "failed"),
    ],
)
async def test_an_error_tells_how_a_wait_ends(
    broker: Broker, error: Exception, outcome: str
) -> None:
    waits = Waits(broker.shards, most=1, reread_seconds=1)
    with pytest.raises(type(error)), waits.place("", "default"):
        raise error
    assert waits.ends == {outcome: 1}
    assert outcome in OUTCOMES


async def test_a_wait_without_a_place_is_refused(broker: Broker) -> None:
    waits = Waits(broker.shards, most=0, reread_seconds=1)
    with pytest.raises(UnavailableError), waits.place("", "default"):
        pass
    waits.drain()
    with pytest.raises(RestMSError), waits.place("", "default"):
        pass
    assert waits.ends == {"refused": 1, "drained": 1}


async def test_a_wait_lapses_when_its_time_is_that_of_its_credentials(broker: Broker) -> None:
    waits = Waits(broker.shards, most=1, reread_seconds=1)

    async def nothing() -> None:
        await trio.lowlevel.checkpoint()

    await waits.until(PIPE, nothing, 0.01, late=LAPSED)
    assert waits.ends == {"lapsed": 1}


async def test_who_hears_nothing_looks_by_himself(broker: Broker) -> None:
    waits = Waits(broker.shards, most=1, reread_seconds=0.01)
    looks = iter([None, None, None, "found"])

    async def look() -> str | None:
        await trio.lowlevel.checkpoint()
        return next(looks)

    assert await waits.until(PIPE, look, 10) == "found"
    assert waits.wakeups == {"sweep": 2}
