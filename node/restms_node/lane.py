"""The lane: a lean HTTP/1.1 server in front of Hypercorn, for requests about messages.

A connection has one task, which reads a request, has it answered and reads the
next. A second task is there only while a request waits, to see the client go.
At the first request that is not for the lane, the connection goes over to
Hypercorn with every byte of it.
"""

import logging
import socket
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import trio
from trio.lowlevel import checkpoint

from restms_cluster.errors import BadRequestError, RestMSError
from restms_cluster.names import Token
from restms_node import codings, request_names
from restms_node.access_log import AccessLog
from restms_node.admission import admitted, counted, known
from restms_node.cors import Cors
from restms_node.exchange import Answer, Request
from restms_node.front import base_uri, shortened
from restms_node.lane_answers import written
from restms_node.lane_requests import END, HEAD_BYTES, Head, Heads
from restms_node.lane_streams import Replayed
from restms_node.lane_wire import Wire
from restms_node.node import Node
from restms_node.problems import sentence
from restms_node.refusals import REQUEST_ID, refused, request_id
from restms_node.request_names import Named
from restms_node.traffic import OTHER
from restms_node.uris import Uris

BODY_PIECE_BYTES = 256 * 1024
SWEEP_SECONDS = 1.0
NEW_SECONDS = 0.5  # for the first request of a connection, when the end has come

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
        self._count = node.traffic.count
        self._new_have_time = False
        # Whether it is asked who makes a request, or how many he makes.
        limiter = node.limiter
        self._asks = not node.access.open or (limiter is not None and limiter.asks)

    async def serve(self, stream: trio.SocketStream) -> Replayed | None:
        """Serve a connection to its end; or return it, to be served from there on by another."""
        raw = socket.socket(fileno=stream.socket.detach())
        wire = Wire(raw, self._nursery)
        goes_on = False
        try:
            goes_on = await self._serve(wire)
        except BadRequestError as error:
            await self._refuse(wire, refused(self._node, None, error))
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
        """Close the connections that have nothing to be answered; the others end by themselves.

        Of one that was only just made the first request is on its way, and is answered.
        """
        self._closing = True
        lately = trio.current_time() - NEW_SECONDS
        for wire, since in self.idle.items():
            if wire.new and since > lately:
                self._give_time()
            elif not wire.come:
                wire.close()

    def _give_time(self) -> None:
        if not self._new_have_time:
            self._new_have_time = True
            self._nursery.start_soon(self._close_new)

    async def _close_new(self) -> None:
        await trio.sleep(NEW_SECONDS)
        self._new_have_time = False
        for wire in self.idle:
            if not wire.come:
                wire.close()

    async def _serve(self, wire: Wire) -> bool:
        """Answer requests; tell whether there is one that is not for the lane."""
        settings = self._node.settings
        # Who the client is matters only where it may be a trusted proxy, or is asked for more.
        matters = settings.trusted_proxies or self._asks
        scope = {**_PLAIN, "client": wire.client} if matters else _PLAIN
        named, log = request_names.held(), self._node.access_log
        while await self._head_comes(wire):
            head = self._head(wire)
            if head is None:
                return True
            begun, wire.waited = perf_counter(), False
            named.begin(head.headers)
            uris = Uris(base_uri(settings, scope, head.headers))
            let_in = None
            if self._asks:
                let_in = await self._let_in(head, uris, wire, scope["client"])
            if isinstance(let_in, Answer):
                answer, last = let_in, head.length > 0  # nobody reads the body
            else:
                body = await self._body(wire, head.length) if head.length else b""
                if let_in is None:
                    request = _request(head, uris, wire, body=body)
                else:
                    request = let_in.having(body=body)
                answer = await self._answer(head, request)
                last = answer.status == 500  # for nobody knows what is broken
            if log is not None:
                _tell(log, named, head, None if wire.gone else answer.status, begun, wire.client)
            if wire.gone:
                break
            self._count(
                head.noun, head.method, answer.status, perf_counter() - begun, waited=wire.waited
            )
            last = last or head.close or self._node.waits.draining
            await wire.send(written(answer, close=last), self._idle_seconds)
            named.end()
            if last:
                await wire.part()
                break
        return False

    async def _head_comes(self, wire: Wire) -> bool:
        """Return when it can be told of the next request whose it is; False where none comes."""
        if wire.come:
            await checkpoint()  # who sends ahead is not served before all others
        elif self._closing and not wire.new:
            return False
        else:
            if self._closing:
                self._give_time()
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
            wire.new = False
            wire.take(end + len(END))
        return head

    async def _let_in(
        self, head: Head, uris: Uris, wire: Wire, client: tuple[str, int] | None
    ) -> Request | Answer:
        """Return a request of somebody who may make it, without its body; or the refusal."""
        peer = client[0] if client else None
        request = _request(head, uris, wire, peer=peer)
        try:
            request = await known(self._node, request)
            request_names.made_by(request.principal.name)
            request = await counted(self._node, request)
            return admitted(self._node, request, head.target)
        except RestMSError as error:
            return self._seen(refused(self._node, request, error))

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

    async def _answer(self, head: Head, request: Request) -> Answer:
        """Return the answer: 500 where something unexpected broke."""
        target = head.target
        if request.uris.owner is not None and isinstance(target, Token):
            target = request.uris.own(target)
        try:
            answer = await head.handler(self._node, request, target)
            answer = await codings.encoded(request, answer, self._node.settings.codings)
            answer = answer.having(*request.fields) if request.fields else answer
        except RestMSError as error:
            answer = refused(self._node, request, error)
        except Exception:  # noqa: BLE001, for what nobody foresaw must not end other connections
            # The path is shortened, for it may be a capability.
            _log.exception("unexpected error on %s %s", request.method, shortened(request.path))
            self._node.traffic.refusals[RestMSError.word] += 1
            answer = sentence(500, "The server met an unexpected error.")
            return answer.having((REQUEST_ID, request_id(request)))
        return self._seen(answer)

    def _seen(self, answer: Answer) -> Answer:
        """Return an answer with what tells caches, for other pages, that it depends on the page."""
        return answer if self._cors is None else self._cors.allow({}, answer)

    async def _refuse(self, wire: Wire, answer: Answer) -> None:
        self._count(OTHER, OTHER, answer.status, None)
        try:
            await wire.send(written(answer, close=True), self._idle_seconds)
            await wire.part()
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            pass


def _tell(
    log: AccessLog,
    named: Named,
    head: Head,
    status: int | None,
    since: float,
    client: tuple[str, int] | None,
) -> None:
    log.answered(
        *(named.name, head.method, head.path, status, since),
        principal=named.principal,
        address=client[0] if client else "",
    )


def _request(
    head: Head, uris: Uris, wire: Wire, *, body: bytes = b"", peer: str | None = None
) -> Request:
    return Request(
        head.method,
        head.path,
        head.headers,
        uris,
        body,
        watched=wire.watched,
        query=head.query,
        peer=peer,
    )
