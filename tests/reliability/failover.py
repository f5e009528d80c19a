"""How many acknowledged messages a failover loses: a primary is lost with its machine, under load.

    .venv/bin/python -m tests.reliability.failover [rounds]

The replica is behind a relay that holds what it carries for some time, as a network does, and
drops it at the moment in which the primary is killed, as a machine does that loses its power. (A
primary that is merely killed loses next to nothing: the system sends what it had written.) The
replica is promoted, and what was acknowledged and is not there is counted, without replicas
having been asked and with them.
"""

import logging
import sys
import tempfile
from pathlib import Path

import trio

from restms_cluster import blobs
from restms_cluster.levels import Durability, Level
from tests.reliability.broker import Publishers, joined, reader
from tests.servers import Server, start_replica, start_server

PUBLISHERS = 64
SECONDS = 1.0


async def relay(
    port: int,
    milliseconds: float,
    task_status: trio.TaskStatus[tuple[int, trio.CancelScope]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Carry connections to a port, what comes back so much later, until its scope is cancelled."""

    async def forward(source: trio.SocketStream, sink: trio.SocketStream, seconds: float) -> None:
        sender, receiver = trio.open_memory_channel[tuple[float, bytes]](100_000)

        async def late() -> None:
            async for due, data in receiver:
                await trio.sleep_until(due)
                await sink.send_all(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(late)
            async for data in source:
                sender.send_nowait((trio.current_time() + seconds, bytes(data)))

    async def handle(stream: trio.SocketStream) -> None:
        try:
            other = await trio.open_tcp_stream("127.0.0.1", port)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(forward, stream, other, 0)
                nursery.start_soon(forward, other, stream, milliseconds / 1000)
        except* (trio.BrokenResourceError, OSError):
            pass  # the primary was killed

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started((listener.socket.getsockname()[1], nursery.cancel_scope))
        await trio.serve_listeners(handle, [listener], handler_nursery=nursery)


async def lost(level: Level, milliseconds: float) -> tuple[int, int]:
    """Run one round; return how many messages were acknowledged, and how many of those are gone."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        primary = start_server(Path(one), tcp=True)
        async with trio.open_nursery() as network:
            port, wire = await network.start(relay, primary.port, milliseconds)
            replica = await trio.to_thread.run_sync(start_replica, Path(two), primary, port)
            async with joined(primary.url, Durability(level)) as broker:
                pipe = await reader(broker)
                publishers = Publishers(broker, PUBLISHERS)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publishers.run, 2 * SECONDS)
                    await trio.sleep(SECONDS)
                    primary.kill()
                    wire.cancel()
        kept = held(replica, pipe.token.secret)
        primary.close()
        replica.close()
        acknowledged = {name for name, _, _ in publishers.sent}
        return len(acknowledged), len(acknowledged - kept)


def held(replica: Server, pipe: str) -> set[str]:
    """Promote a replica; return the messages that a pipe has there."""
    with replica.client() as client:
        client.replicaof("NO", "ONE")
        entries = client.xrange(f"restms:{{default}}:pipe:{pipe}:messages")
    return {blobs.unpack(fields[b"m"])[0]["message_id"] for _, fields in entries}


async def main(rounds: int) -> None:
    """Print what each level loses."""
    logging.disable()
    for level, delay in ((Level.NODE, 0), (Level.NODE, 1), (Level.NODE, 10), (Level.REPLICAS, 10)):
        found = [await lost(level, delay) for _ in range(rounds)]
        total = sum(count for count, _ in found)
        print(
            f"{level!s:9} a network of {delay:2} ms: acknowledged {total} in {rounds} rounds, lost "
            f"{sum(n for _, n in found)}, at most {max(n for _, n in found)} in one",
            flush=True,
        )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 20)
