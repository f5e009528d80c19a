"""The lane: a lean HTTP/1.1 server in front of Hypercorn, for requests about messages.

A connection has one task, which reads a request, has it answered and reads the
next. A second task is there only while a request waits, to see the client go.
At the first request that is not for the lane, the connection goes over to
Hypercorn with every byte of it.

Sockets are the system's own, as trio's would be tried and yielded to at every
call: here a task yields where it must wait, or where its client sends ahead.
"""

import logging
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from restms_cluster.errors import BadRequestError, RestMSError
from restms_node.cors import Cors
from restms_node.exchange import Answer, Request
from restms_node.front import base_uri, shortened
from restms_node.lane_answers import written
from restms_node.lane_requests import END, HEAD_BYTES, Head, Heads
from restms_node.lane_streams import Replayed
from restms_node.node import Node
from restms_node.problems import problem, sentence
from restms_node.uris import Uris

PIECE_BYTES = 16 * 1024  # of what a client sends ahead, no more than this is read
BODY_PIECE_BYTES = 256 * 1024
PARTING_SECONDS = 1.0  # for a client to read its last answer
SWEEP_SECONDS = 1.0

_log = logging.getLogger("restms.lane")


class Lane:
    """What the lane's connections share. `idle` has since when each waits for a whole head."""

    def __init__(self, node: Node, nursery: trio.Nursery, *, idle_seconds: float) -> None:
        """Begin; the nursery is for tasks that watch clients."""
        self.node = node
        self.nursery = nursery
        self.heads = Heads(node.settings)
        self.idle: dict[Connection, float] = {}
        self.idle_seconds = idle_seconds
        self._cors = Cors(node.settings.cors_origins) if node.settings.cors_origins else None

    async def serve(self, stream: trio.SocketStream) -> Replayed | None:
        """Serve a connection; return it where it is to go over to Hypercorn."""
        raw = socket.socket(fileno=stream.socket.detach())
        ahead = await Connection(self, raw).serve()
        if not ahead:
            return None
        return Replayed(trio.SocketStream(trio.socket.from_stdlib_socket(raw)), ahead)

    async def sweep(self) -> None:
        """Close connections that are idle, or whose heads come slowly, for too long."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            late = trio.current_time() - self.idle_seconds
            while self.idle:
                connection, since = next(iter(self.idle.items()))  # the oldest
                if since > late:
                    break
                connection.close()

    def close(self) -> None:
        """Close the connections that have nothing to be answered; the others end by themselves."""
        for connection in list(self.idle):
            if not connection.come:
                connection.close()

    async def answer(self, head: Head, request: Request) -> Answer | None:
        """Return the answer; None where something unexpected broke."""
        try:
            answer = await head.handler(self.node, request, head.target)
        except RestMSError as error:
            answer = problem(error)
        except Exception:  # noqa: BLE001, for what nobody foresaw must not end other connections
            # The path is shortened, for it may be a capability.
            where = f"{request.method} {shortened(request.path)}"
            _log.exception("unexpected error on %s", where)
            return None
        return answer if self._cors is None else self._cors.allow({}, answer)


class Connection:
    """A client's connection, while it is the lane's. `come` is what has been read, not yet used."""

    __slots__ = ("_gone", "_lane", "_parked", "_scope", "_socket", "come")

    def __init__(self, lane: Lane, raw: socket.socket) -> None:
        raw.setblocking(False)  # noqa: FBT003, the standard library's signature
        self.come = b""
        self._lane = lane
        self._socket = raw
        self._scope = _scope(lane.node, raw)
        self._parked: trio.CancelScope | None = None
        self._gone = False

    async def serve(self) -> bytes:
        """Answer requests. Return what has come of one that is not for the lane, or nothing.

        When it returns nothing, the connection is closed.
        """
        ahead = b""
        try:
            ahead = await self._serve()
        except BadRequestError as error:
            await self._refuse(problem(error))
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client has gone, or we have closed
        finally:
            self._lane.idle.pop(self, None)
            if not ahead:
                self.close()
        return ahead

    async def _serve(self) -> bytes:
        lane, settings = self._lane, self._lane.node.settings
        while True:
            head = await self._head()
            if head is None:
                return self.come
            body = await self._body(head.length) if head.length else b""
            uris = Uris(base_uri(settings, self._scope, head.headers))
            request = Request(
                head.method,
                head.path,
                head.headers,
                uris,
                body,
                watched=self._watched,
                query=head.query,
            )
            answer = await lane.answer(head, request)
            if self._gone:
                return b""
            if answer is None:
                await self._refuse(sentence(500, "The server met an unexpected error."))
                return b""
            last = head.close or lane.node.waits.draining
            await self._send(written(answer, close=last))
            if last:
                await self._part()
                return b""

    async def _head(self) -> Head | None:
        """Return the next request's head, taken off what has come; None where it is not ours."""
        heads, idle = self._lane.heads, self._lane.idle
        if self.come:
            await checkpoint()  # who sends ahead is not served before all others
        else:
            idle[self] = trio.current_time()
        while (end := self.come.find(END)) < 0:
            if self.come:
                idle.setdefault(self, trio.current_time())
                if len(self.come) > HEAD_BYTES or not heads.may_begin(self.come):
                    break
            data = await self._receive(PIECE_BYTES)
            if not data:
                self.come = b""
                return None
            self.come = self.come + data if self.come else data
        idle.pop(self, None)
        if end < 0:
            return None
        end += len(END)
        head = heads.read(self.come[:end])
        if head is not None:
            self.come = self.come[end:]
        return head

    async def _body(self, length: int) -> bytes:
        if len(self.come) < length:
            pieces = [self.come]
            missing = length - len(self.come)
            try:
                with trio.fail_after(self._lane.node.settings.body_seconds):
                    while missing:
                        data = await self._receive(min(missing, BODY_PIECE_BYTES))
                        if not data:
                            raise BrokenPipeError
                        pieces.append(data)
                        missing -= len(data)
            except trio.TooSlowError:
                raise BadRequestError("The body took too long to come.") from None
            self.come = b"".join(pieces)
        body, self.come = self.come[:length], self.come[length:]
        return body

    async def _receive(self, most: int) -> bytes:
        while True:
            await wait_readable(self._socket)
            try:
                return self._socket.recv(most)
            except BlockingIOError:
                continue

    async def _send(self, data: bytes) -> None:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._send_on(memoryview(data)[sent:])

    async def _send_on(self, rest: memoryview) -> None:
        """Send to a client who reads slowly, as long as it reads at all."""
        while rest:
            with trio.fail_after(self._lane.idle_seconds):
                await wait_writable(self._socket)
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                continue

    async def _refuse(self, answer: Answer) -> None:
        try:
            await self._send(written(answer, close=True))
            await self._part()
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            pass

    async def _part(self) -> None:
        """Let the client read: if we closed on what it has sent, it would lose the answer."""
        self._socket.shutdown(socket.SHUT_WR)
        with trio.move_on_after(PARTING_SECONDS):
            while await self._receive(PIECE_BYTES):
                pass

    def _watched(self, scope: trio.CancelScope) -> "_Watched":
        return _Watched(self, scope)

    def watch(self, scope: trio.CancelScope) -> None:
        """Have the scope cancelled when the client goes, until `unwatch`."""
        self._parked = scope
        self._lane.nursery.start_soon(self._watch, scope)

    def unwatch(self) -> None:
        """Watch no more."""
        self._parked = None
        notify_closing(self._socket)  # ends the other task's waiting, though we do not close

    async def _watch(self, scope: trio.CancelScope) -> None:
        try:
            # Who sends more ahead than that is not watched any more.
            while self._parked is scope and len(self.come) < PIECE_BYTES:
                data = await self._receive(PIECE_BYTES)
                if not data:
                    raise BrokenPipeError
                self.come += data
        except trio.ClosedResourceError:
            pass
        except OSError:
            self._gone = True
            scope.cancel()

    def close(self) -> None:
        """Close it at once, whoever waits on it."""
        self._lane.idle.pop(self, None)
        if self._socket.fileno() >= 0:
            notify_closing(self._socket)
            self._socket.close()


class _Watched:
    """While it is open, a client who goes ends the wait."""

    __slots__ = ("_connection", "_scope")

    def __init__(self, connection: Connection, scope: trio.CancelScope) -> None:
        self._connection = connection
        self._scope = scope

    def __enter__(self) -> None:
        self._connection.watch(self._scope)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._connection.unwatch()


_PLAIN: Mapping[str, Any] = {"scheme": "http", "server": None, "client": None}


def _scope(node: Node, raw: socket.socket) -> Mapping[str, Any]:
    """Return what base_uri must know of a connection: who the client is, where that matters."""
    if not node.settings.trusted_proxies:
        return _PLAIN
    try:
        return {**_PLAIN, "client": raw.getpeername()}
    except OSError:  # it has gone already
        return _PLAIN
