"""Calls a second of 64 tasks doing GET: our connection beside other ways to reach Redis from Trio.

    python -m tests.benchmarks.connection_compare [seconds for each]

All run in turn against one server of their own, through its Unix socket.
Ways whose package (trio-asyncio, coredis) is not installed are left out. The
numbers depend on the machine; the ratios are what to look at.
"""

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import redis
import trio

from restms_cluster.address import Address
from restms_cluster.connection import Connection
from tests.servers import Server, start_server

TASKS = 64
SECONDS = 3.0


async def measure(get: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Return how many calls a second all tasks together complete."""
    calls = 0
    end = time.perf_counter() + seconds

    async def work() -> None:
        nonlocal calls
        while time.perf_counter() < end:
            await get()
            calls += 1

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(work)
    return calls / (time.perf_counter() - began)


async def ours(server: Server, seconds: float) -> float:
    """Our own pipelined connection."""
    async with trio.open_nursery() as nursery:
        connection = Connection(Address.parse(server.url))
        await nursery.start(connection.run)
        rate = await measure(partial(connection.call, "GET", "key"), seconds)
        nursery.cancel_scope.cancel()
    return rate


async def redis_in_threads(server: Server, seconds: float) -> float:
    """redis-py, each call in a thread of Trio's pool."""
    with redis.Redis.from_url(server.url, protocol=2) as client:
        limiter = trio.CapacityLimiter(TASKS)
        get = partial(trio.to_thread.run_sync, client.get, "key", limiter=limiter)
        return await measure(get, seconds)


async def redis_asyncio(server: Server, seconds: float) -> float:
    """redis.asyncio on asyncio's loop inside Trio (trio-asyncio)."""
    import redis.asyncio
    import trio_asyncio

    async with trio_asyncio.open_loop():
        client = redis.asyncio.Redis.from_url(server.url, protocol=2)
        get = trio_asyncio.aio_as_trio(client.get)
        rate = await measure(partial(get, "key"), seconds)
        await trio_asyncio.aio_as_trio(client.aclose)()
    return rate


async def coredis(server: Server, seconds: float) -> float:
    """coredis, a client that runs on Trio by itself."""
    import coredis

    path = Address.parse(server.url).path
    async with coredis.Redis(unix_socket_path=path, max_connections=TASKS) as client:
        return await measure(partial(client.get, "key"), seconds)


WAYS = {
    "ours": (ours, "trio"),
    "redis-py in threads": (redis_in_threads, "redis"),
    "redis.asyncio through trio-asyncio": (redis_asyncio, "trio_asyncio"),
    "coredis": (coredis, "coredis"),
}


def main() -> None:
    """Measure all ways in one run, and print them beside the first."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(start_server(Path(directory))) as server,
    ):
        with server.client() as client:
            client.set("key", "x" * 100)
        best = 0.0
        for name, (way, package) in WAYS.items():
            if find_spec(package) is None:
                print(f"{name:36} not installed")
                continue
            rate = trio.run(way, server, seconds)
            best = best or rate
            print(f"{name:36} {rate:10,.0f} calls/s   ours is {best / rate:5.1f} times as fast")


if __name__ == "__main__":
    main()
