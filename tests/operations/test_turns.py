"""Nodes do not all look at once for what any of them may do."""

import statistics

import redis
import trio

from restms_cluster import due, turns
from restms_cluster.shard import Shard
from tests.operations.conftest import Joined


async def counted(shard: Shard, nodes: int) -> None:
    with trio.fail_after(10):
        while await turns.count(shard) != nodes:
            await trio.sleep(0.02)


async def test_a_node_learns_how_many_there_are(joined: Joined) -> None:
    async with joined() as one:
        shard = one.shards.home("default")
        await counted(shard, 1)
        async with joined(), joined():
            await counted(shard, 3)
        await counted(shard, 1)


async def test_who_may_not_ask_looks_as_if_it_were_alone(
    joined: Joined, client: "redis.Redis[bytes]"
) -> None:
    async with joined(), joined() as broker:
        shard = broker.shards.home("default")
        await counted(shard, 2)
        client.acl_setuser("default", enabled=True, commands=["-pubsub"])
        try:
            assert await turns.count(shard) == 1
        finally:
            client.acl_setuser("default", enabled=True, commands=["+pubsub"])


def test_a_few_nodes_look_each_and_many_in_turn() -> None:
    for nodes in (1, 2, turns.LOOKERS):
        assert turns.share(due.ASK_SECONDS, nodes) == due.ASK_SECONDS
    pauses = [turns.share(due.ASK_SECONDS, 30) for _ in range(2000)]
    looks_a_second = 30 / statistics.mean(pauses)
    assert 0.9 * turns.LOOKERS < looks_a_second < 1.1 * turns.LOOKERS
    assert max(turns.share(due.ASK_SECONDS, 10_000) for _ in range(100)) <= 1.5 * turns.MOST


def test_more_nodes_leave_each_other_more_time_when_something_is_due() -> None:
    assert all(turns.lateness(due.LATE_SECONDS, 1) <= due.LATE_SECONDS for _ in range(100))
    late = statistics.mean(turns.lateness(due.LATE_SECONDS, 30) for _ in range(2000))
    assert 0.9 < late / (due.LATE_SECONDS * 30 / turns.LOOKERS / 2) < 1.1
