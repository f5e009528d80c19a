"""The quota of bytes: what a domain takes is never much more, and room that is made is found."""

import random
from collections.abc import Awaitable, Callable

import pytest
import redis
import trio

from restms_cluster import contents, feeds, joins, measure, messages, pipes
from restms_cluster.broker import Broker
from restms_cluster.errors import FullError, TooLargeError
from restms_cluster.model import Draft, Embedded
from restms_cluster.names import DEFAULT, FeedName, Token
from restms_cluster.scripts import Outcome
from restms_cluster.terms import Terms
from restms_cluster.transitions import DomainMeasure
from tests.operations.conftest import Joined, stage

QUOTA = 500_000
OVERSHOOT = 4_096  # of what is not counted: what pipes and joins come to between two measures
CLEARLY = 250_000  # bytes that are free where nobody is refused for long
LATER = Terms(delay=3_600_000)
FEED, FAN = FeedName(DEFAULT, DEFAULT), FeedName(DEFAULT, "fan")

Act = Callable[[], Awaitable[object]]


def taken(client: "redis.Redis[bytes]") -> int:
    """What all keys of the domain take, as Redis reckons."""
    with client.pipeline(transaction=False) as asked:
        for key in client.scan_iter("restms:{default}*", count=1000):
            asked.memory_usage(key, samples=0)
        return sum(size or 0 for size in asked.execute())


class World:
    """Pipes, contents, and what may be done with them at any of the nodes."""

    def __init__(self, brokers: list[Broker], seed: int) -> None:
        self.brokers = brokers
        self.chance = random.Random(seed)
        self.pipes: list[Token] = []
        self.staged: list[Token] = []

    @property
    def broker(self) -> Broker:
        return self.chance.choice(self.brokers)

    async def begin(self) -> None:
        await feeds.create(self.broker, DEFAULT, FAN.key, "")
        for _ in range(3):
            pipe = (await pipes.create(self.broker, DEFAULT, "")).token
            await joins.create(self.broker, pipe, FAN)
            self.pipes.append(pipe)

    def act(self) -> Act:
        return self.chance.choice([self.publish, self.publish, self.fan, self.stage, self.delay])

    def size(self) -> int:
        return self.chance.choice([10, 900, 3_000, 20_000, 100_000])

    async def post(self, feed: FeedName, *drafts: Draft) -> None:
        await messages.publish(self.broker, feed, drafts)

    async def publish(self) -> None:
        content = Embedded("a/b", b"m" * self.size())
        to = {"address": str(self.chance.choice(self.pipes)), "message_id": "m" * 20}
        count = 100 if content.size < 1_000 else 1
        await self.post(FEED, *[Draft(to, contents=(content,))] * count)

    async def fan(self) -> None:
        await self.post(FAN, Draft({"address": "x"}, contents=(Embedded("", b"f" * self.size()),)))

    async def delay(self) -> None:
        await self.post(FAN, Draft({"address": "x"}, (), (Embedded("", b"d" * 5_000),), LATER))

    async def stage(self) -> None:
        data = b"s" * self.chance.choice([self.size(), 300_000])
        self.staged.append(await stage(self.broker, FAN, "a/b", data))

    async def clear(self) -> None:
        """Make room: somebody acknowledges all, and deletes what was staged."""
        for pipe in self.pipes:
            while (asynclet := (found := await pipes.read(self.broker, pipe)).asynclet) is None:
                await messages.delete(self.broker, found.messages[-1].token)
            await messages.delete(self.broker, pipe.message((asynclet.number or 1) - 1))
        for content in self.staged:
            await contents.delete(self.broker, content)
        self.staged.clear()


async def soon(act: Act) -> None:
    """Repeat what is refused, as a client would."""
    with trio.fail_after(15):
        while True:
            try:
                await act()
            except FullError:
                await trio.sleep(0.1)
            else:
                return


@pytest.mark.parametrize("seed", range(3))
async def test_two_nodes_keep_a_domain_in_its_quota_and_find_what_room_there_is(
    joined: Joined, client: "redis.Redis[bytes]", seed: int
) -> None:
    limits = {"bytes_per_domain": QUOTA}
    refused = 0
    async with joined(**limits) as one, joined(**limits) as two:
        world = World([one, two], seed)
        await world.begin()
        for _ in range(120):
            try:
                await world.act()()
            except FullError:
                refused += 1
                if QUOTA - taken(client) > CLEARLY:
                    await soon(world.publish)
                else:
                    await world.clear()
            assert taken(client) <= QUOTA + OVERSHOOT
    assert refused > 3


@pytest.mark.parametrize("embed", [65_536, 2 * QUOTA])
async def test_what_would_not_fit_in_an_empty_domain_is_refused_for_good(
    joined: Joined, embed: int
) -> None:
    async with joined(bytes_per_domain=QUOTA, embed_bytes=embed) as broker:
        pipe = (await pipes.create(broker, DEFAULT, "")).token
        for size, error in ((QUOTA + 1, TooLargeError), (QUOTA - 100, FullError)):
            content = Embedded("a/b", b"m" * size)
            with pytest.raises(error):
                await messages.publish(
                    broker, FEED, [Draft({"address": str(pipe)}, (), (content,))]
                )
            with pytest.raises(error):
                await stage(broker, FEED, "a/b", content.data)


async def test_what_a_domain_takes_is_measured_in_many_calls(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined() as broker:
        pipe = (await pipes.create(broker, DEFAULT, "")).token
        large = Draft({"address": str(pipe)}, contents=(Embedded("a/b", b"m" * 5_000),))
        small = Draft({"address": str(pipe)}, contents=(Embedded("a/b", b"m" * 50),))
        await messages.publish(broker, FEED, [large] * 2_500 + [small] * 5_000)
        before = int(client.info("commandstats")["cmdstat_evalsha"]["calls"])
        assert await measure.measure(broker, DEFAULT)
        assert int(client.info("commandstats")["cmdstat_evalsha"]["calls"]) > before + 1
        assert int(client.hget("restms:{default}", "bytes") or 0) == pytest.approx(
            taken(client), abs=1_000
        )


async def test_only_one_node_measures_and_another_takes_over_when_it_is_gone(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined() as broker:
        client.set("restms:{default}:measuring", "another", px=300)
        assert not await measure.measure(broker, DEFAULT)
        with trio.fail_after(10):
            while not await measure.measure(broker, DEFAULT):
                await trio.sleep(0.02)


async def test_a_measure_that_comes_to_another_server_is_worth_nothing(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined() as broker:
        begun = DomainMeasure(DEFAULT, broker.node, 5_000)
        assert (await broker.run(begun)).outcome is Outcome.OK
        client.set("restms:{default}:measuring", broker.node, px=5_000)
        late = DomainMeasure(DEFAULT, broker.node, 5_000, "0 another 0 1000000000")
        assert (await broker.run(late)).outcome is Outcome.GONE
        assert int(client.hget("restms:{default}", "bytes") or 0) < 100_000
