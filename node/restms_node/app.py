"""The Quart shell: it turns what Quart received into a Request, and an Answer into a response.

It knows nothing of the protocol but where its errors go.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import trio
from h11 import LocalProtocolError
from quart import Request as QuartRequest
from quart import Response, g, has_request_context, request, websocket
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from restms_cluster.errors import BadRequestError, ForbiddenError, RestMSError, TooLargeError
from restms_node import codings, metrics, openapi, request_names, sockets
from restms_node.access import more_than_once
from restms_node.admission import admitted, counted, known
from restms_node.app_counts import Mark, count_requests, count_socket
from restms_node.app_pages import METHODS, SAFE, add_pages
from restms_node.cors import Cors
from restms_node.exchange import Answer, Request
from restms_node.front import base_uri, shortened
from restms_node.guard import PACE, Pace
from restms_node.health import Health
from restms_node.hosts import Hosts
from restms_node.metrics_snapshot import alone
from restms_node.node import Node
from restms_node.problems import sentence
from restms_node.refusals import REQUEST_ID, any_name, refused, request_id
from restms_node.responses import respond, said
from restms_node.routes import body_limit, dispatch, streamed, takes_in
from restms_node.uris import Uris, plain

LEAST_RATE = 1024  # bytes a second of a content that comes

_log = logging.getLogger("restms.app")


class App(QuartTrio):
    """A Quart application that keeps private URIs out of its log."""

    def log_exception(self, exception_info: Any) -> None:
        """Log an unexpected error; the path is shortened, for it may be a capability."""
        if isinstance(exception_info[1], LocalProtocolError):
            # Nothing unexpected: the client had gone, or said what is no HTTP, meanwhile.
            _log.info("an answer could not be sent: %s", exception_info[1])
            return
        asked = request if has_request_context() else websocket
        where = f"{asked.method} {shortened(asked.path)}"
        _log.error("unexpected error on %s", where, exc_info=exception_info)


def make_app(node: Node, page: metrics.Page | None = None) -> App:
    """Make the application that serves a node; the page is that of its metrics."""
    app = App("restms_node", static_folder=None)
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = None  # each kind of body has its limit, see below
    app.config["BODY_TIMEOUT"] = None  # bounded below, with a sentence
    app.config["RESPONSE_TIMEOUT"] = None  # waits have their own bounds
    cors, hosts = Cors(node.settings.cors_origins), Hosts(node.settings)
    count_requests(app, node)

    @app.route("/", defaults={"path": ""}, methods=METHODS)
    @app.route("/<path:path>", methods=METHODS)
    async def any_resource(path: str) -> Response:  # noqa: ARG001, Quart's signature
        asked = None
        try:
            asked = _request(node, request)
            hosts.check(asked.header("host"))
            asked = await known(node, asked)
            request_names.made_by(asked.principal.name)
            asked = await counted(node, asked)
            asked = admitted(node, asked, asked.uris.target(asked.path))
            if asked.method not in SAFE and not cors.admits(asked.headers, asked.uris.base):
                raise ForbiddenError("Pages of that origin may not change anything here.")
            asked = await received(node, asked, request)
            answer = await dispatch(node, asked)
            if isinstance(asked.stream, AsyncGenerator):
                await asked.stream.aclose()  # what it did not wait for, the connection drops
            answer = await codings.encoded(asked, answer, node.settings.codings)
            answer = answer.having(*asked.fields) if asked.fields else answer
        except RestMSError as error:
            answer = refused(node, asked, error)
        return respond(cors.allow(dict(request.headers), answer), request.method)

    @app.errorhandler(HTTPException)
    async def failed(error: HTTPException) -> Response:
        if error.code in (404, 405):  # a method, or a line break in a path: no route of Quart's
            return await any_resource("")  # who asks for that is asked who he is as well
        named = (REQUEST_ID, any_name())
        node.traffic.refusals[RestMSError.word if error.code == 500 else TooLargeError.word] += 1
        return respond(sentence(error.code or 500, said(error)).having(named))

    _serve_pages(app, node, hosts, page or metrics.Page(partial(alone, node)))
    _serve_sockets(app, node, cors, hosts)
    return app


def _serve_pages(app: App, node: Node, hosts: Hosts, scraped: metrics.Page) -> None:
    """Serve what is no resource of the protocol: health, the description of it all, metrics."""
    health = Health(node)
    description = openapi.Page(node.settings)

    async def described() -> Answer:
        return description.answer(request.headers.get("If-None-Match"))

    async def measured() -> Answer:
        asked = None
        try:
            asked = _request(node, request)
            hosts.check(asked.header("host"))
            asked = await known(node, asked)
            request_names.made_by(asked.principal.name)
            if node.gate is not None:
                node.gate.require_everywhere(asked.principal)
            return await scraped.answer(asked.header("accept"))
        except RestMSError as error:
            return refused(node, asked, error)

    pages = {"/livez": health.live, "/readyz": health.ready, openapi.PATH: described}
    if not node.settings.metrics_bind:
        pages[metrics.PATH] = measured
    add_pages(app, pages, partial(refused, node, None))


def _serve_sockets(app: App, node: Node, cors: Cors, hosts: Hosts) -> None:
    """Serve the WebSockets of pipes; what cannot be opened is answered as a GET would be."""

    @app.websocket("/", defaults={"path": ""})
    @app.websocket("/<path:path>")
    async def any_socket(path: str) -> Response | None:  # noqa: ARG001, Quart's signature
        asked = None
        try:
            asked = _request(node, websocket)
            hosts.check(asked.header("host"))
            asked = await known(node, asked)
            request_names.made_by(asked.principal.name)
            asked = await counted(node, asked)
            asked = admitted(node, asked, asked.uris.target(asked.path))
            # Not only unsafe methods: a browser keeps no page from opening a WebSocket.
            if not cors.admits(asked.headers, asked.uris.base):
                raise ForbiddenError("Pages of that origin may not open a WebSocket here.")
            session = await sockets.opened(node, asked, websocket.requested_subprotocols)
        except RestMSError as error:
            count_socket(node, _path(websocket.scope), error.status)
            return respond(refused(node, asked, error))
        count_socket(node, _path(websocket.scope), 101)
        await websocket.accept(subprotocol=session.subprotocol.name)
        await session.run(websocket)
        return None


def _request(node: Node, raw: BaseRequestWebsocket) -> Request:
    """Make a Request without a body, of which it is not known yet who makes it."""
    headers: dict[str, str] = {}
    for name, value in raw.headers.items():
        key = name.lower()
        if key in headers and key in node.access.once:
            raise more_than_once(key)
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    uris = Uris(base_uri(node.settings, raw.scope, headers))
    query = raw.query_string.decode("latin-1")
    client = raw.scope.get("client")
    peer = client[0] if client else None
    g.mark = Mark()
    asked = Request(
        raw.method, _path(raw.scope), headers, uris, query=query, peer=peer, watched=g.mark
    )
    return asked.having(id=request_id(asked))


def _path(scope: Mapping[str, Any]) -> str:
    """Return the path that was sent. Quart's own is decoded, and loses a slash at its start."""
    path = scope["raw_path"].decode("latin-1")
    return plain(path if path.startswith("/") else urlsplit(path).path)


async def received(node: Node, asked: Request, raw: QuartRequest) -> Request:
    """Return the Request with its body, which is read within its limit and its time."""
    if raw.method in SAFE:
        return asked
    coding = codings.of_body(asked.header("content-encoding"), node.settings.codings)
    if coding is not None:
        # The length is that of what came, which nobody sees.
        passed = ("content-encoding", "content-length")
        headers = {name: value for name, value in asked.headers.items() if name not in passed}
        asked = replace(asked, headers=headers)
    target, content_type = asked.uris.target(asked.path), asked.header("content-type")
    limit = body_limit(node, raw.method, target, content_type)
    if streamed(raw.method, target, content_type):
        # Who sends messages as they happen may well have none for a while.
        rate = 0 if takes_in(raw.method, target, content_type) else LEAST_RATE
        stream = body_stream(raw, limit, node.settings.body_seconds, rate)
        if coding is not None:
            stream = codings.decoded(stream, coding, limit)
        return replace(asked, stream=stream)
    try:
        with trio.fail_after(node.settings.body_seconds):
            body = await read_body(raw, limit)
            if coding is not None and body:
                body = await codings.decoded_whole(body, coding, limit)
    except trio.TooSlowError:
        raise BadRequestError("The body took too long to come.") from None
    return replace(asked, body=body)


async def read_body(raw: QuartRequest, limit: int) -> bytes:
    """Read the body; TooLargeError as soon as it is known to be over its limit.

    What the client still sends is dropped by its connection, which then ends.
    """
    body = bytearray()
    too_large = TooLargeError(f"The body is over its limit of {limit} bytes.")
    if (raw.content_length or 0) > limit:
        raise too_large
    async for chunk in Paced(raw):
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


async def body_stream(
    raw: QuartRequest, limit: int, seconds: float, rate: int
) -> AsyncGenerator[bytes]:
    """Yield the body, of at most `limit` bytes, as it comes.

    BadRequestError where nothing comes for so many seconds, or where the client falls so
    far behind the least rate in bytes a second: the time until a piece is asked for is not
    the client's.
    """
    if (raw.content_length or 0) > limit:
        raise TooLargeError(f"The body is over its limit of {limit} bytes.")
    size, patience = 0, seconds
    pieces = aiter(Paced(raw))
    while True:
        asked_at = trio.current_time()
        try:
            with trio.fail_after(patience):
                piece = await anext(pieces, None)
        except trio.TooSlowError:
            raise BadRequestError("The body took too long to come.") from None
        if piece is None:
            return
        size += len(piece)
        if size > limit:
            raise TooLargeError(f"The body is over its limit of {limit} bytes.")
        if rate:
            left = patience - (trio.current_time() - asked_at)
            patience = min(seconds, max(0.0, left) + len(piece) / rate)
        yield piece


class Paced:
    """The pieces of a body, each asked for when the one before has been read."""

    def __init__(self, raw: QuartRequest) -> None:
        self._pieces = aiter(raw.body)
        # Requests of Quart's own test client have none.
        self._pace = cast("Pace | None", raw.scope.get(PACE))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._pace is not None:
            self._pace.more()
        return await anext(self._pieces)
