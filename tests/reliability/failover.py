"""How many acknowledged messages a failover loses: a primary is killed under load.

    .venv/bin/python -m tests.reliability.failover [rounds]

Its replica is promoted at once and found in its place (what Sentinel takes seconds for, in which
nothing is acknowledged). What was acknowledged and is not there is counted, without replicas
having been asked and with them. Everything is on this machine, where a replica is as near as
can be: over a network there is more under way.
"""

import sys
import tempfile
from pathlib import Path

import trio

from restms_cluster import blobs
from restms_cluster.levels import Durability, Level
from tests.reliability.broker import Publishers, joined, reader
from tests.servers import start_replica, start_server

PUBLISHERS = 64
SECONDS = 1.0


async def lost(level: Level) -> tuple[int, int]:
    """Run one round; return how many messages were acknowledged, and how many of those are gone."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        primary = start_server(Path(one), tcp=True)
        replica = start_replica(Path(two), primary)
        try:
            async with joined(primary.url, Durability(level)) as broker:
                pipe = await reader(broker)
                publishers = Publishers(broker, PUBLISHERS)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publishers.run, 2 * SECONDS)
                    await trio.sleep(SECONDS)
                    primary.kill()
                    await trio.sleep(0.2)  # what had come is acknowledged now
                    nursery.cancel_scope.cancel()
            with replica.client() as client:
                client.replicaof("NO", "ONE")
                key = f"restms:{{default}}:pipe:{pipe.token.secret}:messages"
                kept = {
                    blobs.unpack(fields[b"m"])[0]["message_id"] for _, fields in client.xrange(key)
                }
            acknowledged = {name for name, _, _ in publishers.sent}
            return len(acknowledged), len(acknowledged - kept)
        finally:
            primary.close()
            replica.close()


async def main(rounds: int) -> None:
    """Print what each level loses."""
    for level in (Level.NODE, Level.REPLICAS):
        found = [await lost(level) for _ in range(rounds)]
        print(
            f"{level!s:10} {rounds} rounds, acknowledged {sum(n for n, _ in found)}, "
            f"lost {sum(n for _, n in found)} (most in one round {max(n for _, n in found)})"
        )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 20)
