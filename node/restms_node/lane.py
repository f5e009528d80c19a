"""The lane: a lean HTTP/1.1 server in front of Hypercorn, for requests about messages.

A connection has one task, which reads a request, has it answered and reads the
next. A second task is there only while a request waits, to see the client go.
At the first request that is not for the lane, the connection goes over to
Hypercorn with every byte of it.
"""

import logging
import socket
from collections.abc import Mapping
from typing import Any

import trio
from trio.lowlevel import checkpoint

from restms_cluster.errors import BadRequestError, RestMSError
from restms_node import codings
from restms_node.cors import Cors
from restms_node.exchange import Answer, Request
from restms_node.front import base_uri, shortened
from restms_node.lane_answers import written
from restms_node.lane_requests import END, HEAD_BYTES, Head, Heads
from restms_node.lane_streams import Replayed
from restms_node.lane_wire import Wire
from restms_node.node import Node
from restms_node.principals import Principal
from restms_node.problems import problem, sentence
from restms_node.uris import Uris

BODY_PIECE_BYTES = 256 * 1024
SWEEP_SECONDS = 1.0

_PLAIN: Mapping[str, Any] = {"scheme": "http", "server": None, "client": None}

_log = logging.getLogger("restms.lane")


class Lane:
    """Serves connections, until they are to go over to Hypercorn.

    `idle` has since when each waits for a whole head, the longest first.
    """

    def __init__(self, node: Node, nursery: trio.Nursery, *, idle_seconds: float) -> None:
        """Begin; the nursery is for tasks that watch clients."""
        self.idle: dict[Wire, float] = {}
        self._node = node
        self._nursery = nursery
        self._idle_seconds = idle_seconds
        self._heads = Heads(node.settings, node.access.once)
        self._cors = Cors(node.settings.cors_origins) if node.settings.cors_origins else None
        self._closing = False

    async def serve(self, stream: trio.SocketStream) -> Replayed | None:
        """Serve a connection to its end; or return it, to be served from there on by another."""
        raw = socket.socket(fileno=stream.socket.detach())
        wire = Wire(raw, self._nursery)
        goes_on = False
        try:
            goes_on = await self._serve(wire)
        except BadRequestError as error:
            await self._refuse(wire, problem(error))
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client has gone, or does not read, or we have closed
        except Exception:  # noqa: BLE001, for what nobody foresaw must not end other connections
            _log.exception("unexpected error on a connection, which is closed")
        finally:
            self.idle.pop(wire, None)
            if not goes_on:
                wire.close()
        if not goes_on:
            return None
        return Replayed(trio.SocketStream(trio.socket.from_stdlib_socket(raw)), wire.come)

    async def sweep(self) -> None:
        """Close connections that are idle, or whose heads come slowly, for too long."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            late = trio.current_time() - self._idle_seconds
            while self.idle:
                wire, since = next(iter(self.idle.items()))
                if since > late:
                    break
                del self.idle[wire]
                wire.close()

    def close(self) -> None:
        """Close the connections that have nothing to be answered; the others end by themselves."""
        self._closing = True
        for wire in self.idle:
            if not wire.come:
                wire.close()

    async def _serve(self, wire: Wire) -> bool:
        """Answer requests; tell whether there is one that is not for the lane."""
        settings = self._node.settings
        # Who the client is matters only where it may be a trusted proxy.
        scope = {**_PLAIN, "client": wire.client} if settings.trusted_proxies else _PLAIN
        while await self._head_comes(wire):
            head = self._head(wire)
            if head is None:
                return True
            uris = Uris(base_uri(settings, scope, head.headers))
            last = head.close
            answer: Answer | None
            try:
                principal = await self._let_in(head, scope["client"])
            except RestMSError as error:
                answer = self._seen(problem(error))
                last = last or head.length > 0  # nobody reads the body, and more may follow it
            else:
                request = Request(
                    head.method,
                    head.path,
                    head.headers,
                    uris,
                    await self._body(wire, head.length) if head.length else b"",
                    watched=wire.watched,
                    query=head.query,
                    principal=principal,
                )
                answer = await self._answer(head, request)
            if wire.gone:
                break
            if answer is None:
                await self._refuse(wire, sentence(500, "The server met an unexpected error."))
                break
            last = last or self._node.waits.draining
            await wire.send(written(answer, close=last), self._idle_seconds)
            if last:
                await wire.part()
                break
        return False

    async def _head_comes(self, wire: Wire) -> bool:
        """Return when it can be told of the next request whose it is; False where none comes."""
        if wire.come:
            await checkpoint()  # who sends ahead is not served before all others
        elif self._closing:
            return False
        else:
            self.idle[wire] = trio.current_time()
        while END not in wire.come:
            if wire.come:
                self.idle.setdefault(wire, trio.current_time())
                if len(wire.come) > HEAD_BYTES or not self._heads.may_begin(wire.come):
                    break
            some = await wire.receive()
            if not some:
                return False
            wire.come = wire.come + some if wire.come else some
        self.idle.pop(wire, None)
        return True

    def _head(self, wire: Wire) -> Head | None:
        """Take the next request's head; None, and nothing is taken, where it is not ours."""
        end = wire.come.find(END)
        if end < 0:
            return None
        head = self._heads.read(wire.come[: end + len(END)])
        if head is not None:
            wire.take(end + len(END))
        return head

    async def _let_in(self, head: Head, client: tuple[str, int] | None) -> Principal:
        """Return who makes a request, before its body is read; or raise what it is refused with."""
        access, peer = self._node.access, client[0] if client else None
        principal = access.known(head.headers, peer)
        return await access.principal(head.headers, peer) if principal is None else principal

    async def _body(self, wire: Wire, length: int) -> bytes:
        missing = length - len(wire.come)
        if missing <= 0:
            return wire.take(length)
        pieces = [wire.take(length)]
        try:
            with trio.fail_after(self._node.settings.body_seconds):
                while missing:
                    some = await wire.receive(min(missing, BODY_PIECE_BYTES))
                    if not some:
                        raise BrokenPipeError
                    pieces.append(some)
                    missing -= len(some)
        except trio.TooSlowError:
            raise BadRequestError("The body took too long to come.") from None
        return b"".join(pieces)

    async def _answer(self, head: Head, request: Request) -> Answer | None:
        """Return the answer; None where something unexpected broke."""
        try:
            answer = await head.handler(self._node, request, head.target)
            answer = await codings.encoded(request, answer, self._node.settings.codings)
        except RestMSError as error:
            answer = problem(error)
        except Exception:  # noqa: BLE001, for what nobody foresaw must not end other connections
            # The path is shortened, for it may be a capability.
            where = f"{request.method} {shortened(request.path)}"
            _log.exception("unexpected error on %s", where)
            return None
        return self._seen(answer)

    def _seen(self, answer: Answer) -> Answer:
        """Return an answer with what tells caches, for other pages, that it depends on the page."""
        return answer if self._cors is None else self._cors.allow({}, answer)

    async def _refuse(self, wire: Wire, answer: Answer) -> None:
        try:
            await wire.send(written(answer, close=True), self._idle_seconds)
            await wire.part()
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            pass
