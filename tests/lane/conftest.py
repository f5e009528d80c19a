"""The lane in this process: a real broker, real sockets, and no Hypercorn behind it.

What the lane gives away is answered with its own bytes, so that a test sees them all.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio

from restms_cluster import messages, pipes
from restms_cluster.broker import Broker
from restms_cluster.model import Draft, Embedded
from restms_cluster.names import FeedName, Token
from restms_node import lane as lane_module
from restms_node import lane_wire
from restms_node.access import Access
from restms_node.config import Settings
from restms_node.lane import Lane
from restms_node.node import Node
from restms_node.waiting import Waits
from tests.operations.conftest import broker, client, joined, operations_server

__all__ = ["broker", "client", "joined", "operations_server"]

SECONDS = 10.0
FEED = FeedName("default", "default")
XML = "Content-Type: application/restms+xml"
DOCUMENT = '<restms><message address="{}"><content>{}</content></message></restms>'


@dataclass
class Answered:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A connection to the lane."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._come = b""

    async def send(self, *requests: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(b"".join(requests))

    async def answer(self) -> Answered:
        """Read one answer."""
        with trio.fail_after(SECONDS):
            while b"\r\n\r\n" not in self._come:
                await self._more()
            head, self._come = self._come.split(b"\r\n\r\n", 1)
            status, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = int(headers.get("content-length", "0"))
            while len(self._come) < length:
                await self._more()
            body, self._come = self._come[:length], self._come[length:]
            return Answered(int(status.split()[1]), headers, body)

    async def ended(self) -> bytes:
        """Return what still comes until the lane ends the connection."""
        with trio.fail_after(SECONDS):
            while some := await self.stream.receive_some():
                self._come += some
        return self._come

    async def _more(self) -> None:
        some = await self.stream.receive_some()
        assert some, f"the connection ended after {self._come!r}"
        self._come += some


@dataclass
class Served:
    """A lane that serves, and how to come to it."""

    lane: Lane
    node: Node
    connect: Callable[[], Awaitable[Client]]
    given_away: list[bytes] = field(default_factory=list)
    connections: int = 0


Serving = Callable[..., Any]


def head(method: str, path: str, *lines: str, host: str = "node") -> bytes:
    """A request's head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def post(text: str, *lines: str, address: str = "nowhere", path: str = "") -> bytes:
    """A request that publishes a message."""
    body = DOCUMENT.format(address, text).encode()
    path = path or "/restms/feed/default"
    return head("POST", path, XML, f"Content-Length: {len(body)}", *lines) + body


def get(token: Token | str, *lines: str) -> bytes:
    """A request that reads a message."""
    return head("GET", f"/restms/resource/{token}", *lines)


async def new_pipe(broker: Broker) -> Token:
    """Make a pipe. Its name is an address of the default feed."""
    return (await pipes.create(broker, "default", "", "")).token


async def put_in(broker: Broker, pipe: Token, text: str) -> None:
    """Have a message in a pipe."""
    draft = Draft({"address": str(pipe)}, (), (Embedded("text/plain", text.encode()),))
    await messages.publish(broker, FEED, [draft])


@pytest.fixture
def serving(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Serve by a lane for the time of a block: `async with serving() as served`."""
    monkeypatch.setattr(lane_module, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(lane_wire, "PARTING_SECONDS", 0.1)

    @asynccontextmanager
    async def serve(
        *, idle_seconds: float = SECONDS, access: Access | None = None, **settings: Any
    ) -> AsyncIterator[Served]:
        waits = Waits(broker.shards, most=100, reread_seconds=SECONDS)
        node = Node(broker, waits, Settings(**{"hosts": ("*",), **settings}), access or Access())
        async with trio.open_nursery() as nursery:
            lane = Lane(node, nursery, idle_seconds=idle_seconds)
            clients: list[Client] = []

            async def handle(stream: trio.SocketStream) -> None:
                served.connections += 1
                goes_on = await lane.serve(stream)
                served.connections -= 1
                if goes_on is not None:
                    async with goes_on:
                        served.given_away.append(bytes(await goes_on.receive_some()))
                        await goes_on.send_all(b"HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n")

            listeners: list[trio.SocketListener] = await nursery.start(
                partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
            )
            nursery.start_soon(lane.sweep)
            address = listeners[0].socket.getsockname()

            async def connect() -> Client:
                clients.append(Client(await trio.open_tcp_stream(*address)))
                return clients[-1]

            served = Served(lane, node, connect)
            try:
                yield served
            finally:
                for client in clients:
                    client.stream.socket.close()
            nursery.cancel_scope.cancel()

    return serve


@pytest.fixture
async def served(serving: Serving) -> AsyncIterator[Served]:
    """A lane with the usual settings."""
    async with serving() as one:
        yield one
