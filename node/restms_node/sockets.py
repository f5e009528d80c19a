"""A WebSocket on a pipe: messages out, acknowledgements in (RFC 6455).

A window bounds the messages that are sent and not acknowledged: a client that
does not keep up is sent nothing more until it has.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Protocol

import trio

from restms_cluster import messages
from restms_cluster.errors import (
    BadRequestError,
    DrainingError,
    ForbiddenError,
    NotFoundError,
    RestMSError,
    UnauthorizedError,
)
from restms_cluster.inbox import Inbox
from restms_cluster.names import Kind, Token
from restms_cluster.readers import Pull
from restms_node import queries, subprotocols
from restms_node.deliveries import Deliveries
from restms_node.exchange import Request
from restms_node.node import Node
from restms_node.subprotocols import Subprotocol
from restms_node.tail import Tail

WINDOW = 100  # where the client does not say

GOING_AWAY, UNSUPPORTED, BAD_DATA, INTERNAL, TRY_LATER = 1001, 1003, 1007, 1011, 1013
LAPSED, GONE = 4401, 4404
"""Why a WebSocket is closed: codes of RFC 6455 7.4.1, and two of our own for HTTP's 401 and 404."""


class Socket(Protocol):
    """An open WebSocket, of whatever framework. A client that goes cancels who uses it."""

    async def receive(self) -> str | bytes:
        """Wait for a client's frame."""
        ...

    async def send(self, data: str | bytes) -> None:
        """Send a frame; returns when the system has taken it."""

    async def close(self, code: int, reason: str) -> None:
        """Close, with a reason of 123 bytes at most."""


async def opened(node: Node, request: Request, offered: Sequence[str]) -> "Session":
    """Return the session that a WebSocket may have; raises what is to be answered instead."""
    target = request.uris.target(request.path)
    if not isinstance(target, Token) or target != target.pipe() or target.kind is not Kind.PIPE:
        raise ForbiddenError("Only a pipe has a WebSocket.")
    window = queries.numbers(request.query, ("window",)).get("window", WINDOW)
    subprotocol = subprotocols.choose(offered)
    node.waits.check(node.who(request), target.domain)
    async with Inbox(node.broker, target) as inbox:
        await inbox.read(Pull.NOTHING, 1, 1)
    most = node.settings.limits.messages_read
    return Session(node, request, target, subprotocol, min(window, most))


class Session:
    """What goes on over one WebSocket."""

    def __init__(
        self, node: Node, request: Request, pipe: Token, subprotocol: Subprotocol, window: int
    ) -> None:
        self.subprotocol = subprotocol
        self._node = node
        self._request = request
        self._pipe = pipe
        self._window = window
        self._deliveries = Deliveries(request.uris, pipe)
        self._unacknowledged: deque[int] = deque()
        self._closing = (INTERNAL, "")

    async def run(self, socket: Socket) -> None:
        """Send and receive, until the pipe is deleted, the node drains, or the client errs."""
        tail = Tail(self._node, self._request, self._pipe, "websocket")
        try:
            async with tail, trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, socket, nursery.cancel_scope)
                nursery.start_soon(self._deliver, socket, tail, nursery.cancel_scope)
        except RestMSError as error:  # of entering the tail: no place is left
            self._closing = _closing(error)
        await socket.close(*self._closing)

    async def _deliver(self, socket: Socket, tail: Tail, scope: trio.CancelScope) -> None:
        try:
            while True:
                room = await self._room(tail)
                found = await tail.next(room) if room else None
                if found is None:
                    await socket.send(self.subprotocol.beat())
                    continue
                with tail.delivered(found):
                    for one in found:
                        self._unacknowledged.append(int(one[0]))
                        await socket.send(self.subprotocol.message(self._deliveries, one))
        except RestMSError as error:
            self._closing = _closing(error)
            scope.cancel()

    async def _receive(self, socket: Socket, scope: trio.CancelScope) -> None:
        while True:
            frame = await socket.receive()
            if not isinstance(frame, self.subprotocol.frames):
                self._closing = (UNSUPPORTED, "Frames of that kind are not understood here.")
                break
            try:
                href = self.subprotocol.acknowledged(frame)
            except BadRequestError as error:
                self._closing = (BAD_DATA, error.text)
                break
            try:
                if href is not None:
                    await self._acknowledge(href)
            except RestMSError as error:
                await socket.send(self.subprotocol.error(error))
        scope.cancel()

    async def _acknowledge(self, href: str) -> None:
        try:
            target = self._request.uris.reference(self._request.path, href)
        except (BadRequestError, NotFoundError):
            target = None
        number = target.number if isinstance(target, Token) else None
        if number is None or target != self._pipe.message(number):
            raise BadRequestError("What is acknowledged is not a message of this pipe.")
        message, tracing = self._pipe.message(number), self._node.tracing
        with nullcontext() if tracing is None else tracing.acknowledging(self._request, message):
            await messages.delete(self._node.broker, message)
        self._drop(number)

    async def _room(self, tail: Tail) -> int:
        """Wait until the client may be sent more; return how many, 0 when a heartbeat is due."""

        async def room() -> int | None:
            free = self._window - len(self._unacknowledged)
            if free <= 0:
                # A DELETE by HTTP acknowledges as well, and so does whoever else reads the pipe.
                last = self._unacknowledged[-1]
                oldest = await tail.oldest()
                self._drop(last if oldest is None else oldest - 1)
                free = self._window - len(self._unacknowledged)
            return free if free > 0 else None

        free = self._window - len(self._unacknowledged)
        return free if free > 0 else await tail.until(room) or 0

    def _drop(self, number: int) -> None:
        while self._unacknowledged and self._unacknowledged[0] <= number:
            self._unacknowledged.popleft()


def _closing(error: RestMSError) -> tuple[int, str]:
    """Return the code and the reason to close with."""
    match error:
        case DrainingError():
            return GOING_AWAY, "This node is going down; connect again, another will answer."
        case NotFoundError():
            return GONE, "The pipe was deleted."
        case UnauthorizedError():
            return LAPSED, error.text
        case _:
            return (TRY_LATER if error.status == 503 else INTERNAL), error.text
