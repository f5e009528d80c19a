"""Clients that are slow, rude or gone: to a node in this process, with the lane and without it.

Its patience is short, and its sockets' buffers are small.
"""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper

from restms_cluster import pipes
from restms_cluster.broker import Broker
from restms_cluster.names import FeedName, Token
from restms_node import connections, lane_wire, serving
from restms_node.access import Access
from restms_node.app import make_app
from restms_node.config import Settings
from restms_node.guard import Guard
from restms_node.node import Node
from restms_node.server import of_hypercorn
from restms_node.serving import Places, serve_connections
from restms_node.waiting import Waits
from tests.operations.conftest import broker, client, joined, operations_server
from tests.waiting import until

__all__ = ["broker", "client", "joined", "operations_server"]

SECONDS = 10.0
BUFFER = 16 * 1024
FEED = FeedName("default", "default")
FEED_PATH = "/restms/feed/default"
UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: restms"),
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is told to the other side as an error


class Peer:
    """A client's connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.come = b""

    async def send(self, method: str, path: str, *lines: str, body: bytes = b"") -> None:
        """Send a request, or as much of it as `body` is."""
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: node", *lines, "", ""])
        await self.stream.send_all(head.encode() + body)

    async def until(self, sought: bytes) -> None:
        """Read until that has come."""
        while sought not in self.come:
            some = await self.stream.receive_some()
            assert some, f"the connection ended after {self.come!r}"
            self.come += some

    async def ended(self) -> bytes:
        """Return all that came, once the node has ended the connection."""
        with trio.fail_after(SECONDS):
            while some := await self.stream.receive_some():
                self.come += some
        return self.come

    async def open_socket(self, pipe: Token) -> None:
        """Open a WebSocket on a pipe, and wait for its first heartbeat."""
        await self.send("GET", f"/restms/resource/{pipe}", *UPGRADE)
        await self.until(b"\r\n\r\n\x81\x02{}")

    async def reset(self) -> None:
        """Go, so that the node meets an error."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await trio.aclose_forcefully(self.stream)


@dataclass
class Served:
    """A node that serves."""

    node: Node
    places: Places
    connect: Callable[[], Awaitable[Peer]]
    stop: Callable[[], Awaitable[None]]

    @property
    def connections(self) -> int:
        """How many connections it has."""
        return self.places._open


Serving = Callable[..., Any]


async def new_pipe(broker: Broker) -> Token:
    """Make a pipe."""
    return (await pipes.create(broker, "default", "", "")).token


@pytest.fixture(params=[True, False], ids=["lane", "no lane"])
def serving_at(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Serving:
    """Serve for the time of a block: `async with serving_at() as served`."""
    monkeypatch.setattr(lane_wire, "PARTING_SECONDS", 0.1)
    monkeypatch.setattr(connections, "PARTING_PAUSE", 0.1)
    made: list[Places] = []

    def places(most: float) -> Places:
        made.append(Places(most))
        return made[-1]

    monkeypatch.setattr(serving, "Places", places)

    @asynccontextmanager
    async def serve(**chosen: Any) -> AsyncIterator[Served]:
        # A drain that waits for somebody fails its test.
        settings = Settings(
            hosts=("*",),
            **{"lane": request.param, "drain_seconds": 10 * SECONDS, "heartbeat_seconds": 0.05}
            | chosen,
        )
        waits = Waits(broker.shards, most=100, reread_seconds=SECONDS)
        node = Node(broker, waits, settings, Access())
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        told, ended = trio.Event(), trio.Event()

        async def run() -> None:
            app = ASGIWrapper(Guard(make_app(node), node.waits))
            await serve_connections(app, of_hypercorn(settings), listener, node, until_told)
            ended.set()

        async def until_told() -> None:
            await told.wait()
            waits.drain()
            await waits.ended()

        async def stop() -> None:
            told.set()
            await ended.wait()

        async def connect() -> Peer:
            one = trio.socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            await one.connect(listener.getsockname())
            peers.append(Peer(trio.SocketStream(one)))
            return peers[-1]

        peers: list[Peer] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(lambda: bool(made))
            try:
                yield Served(node, made[-1], connect, partial(_within, stop))
            finally:
                for peer in peers:
                    peer.stream.socket.close()
                with trio.move_on_after(SECONDS, shield=True):
                    await stop()
                nursery.cancel_scope.cancel()

    return serve


@pytest.fixture
async def served(serving_at: Serving) -> AsyncIterator[Served]:
    """A node with the usual settings."""
    async with serving_at() as one:
        yield one


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody take more than a moment to read."""
    monkeypatch.setattr(lane_wire, "LEAST_PAUSE", 0.2)
    monkeypatch.setattr(lane_wire, "LEAST_RATE", 1 << 40)


async def _within(do: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(SECONDS):
        await do()
