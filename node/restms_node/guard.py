"""A small ASGI layer between Hypercorn and Quart, for what neither of them sees to."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias, cast

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
    WebsocketScope,
)

from restms_cluster.errors import RestMSError
from restms_node import request_names
from restms_node.access_log import AccessLog, now
from restms_node.request_names import Named
from restms_node.waiting import Waits

PACE = "restms.pace"  # the scope's key
NAMING = request_names.REQUEST_ID.lower().encode()
PROCEED = "restms.proceed"  # in the connection's state

Proceed: TypeAlias = Callable[[], Awaitable[None]]
WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")

_log = logging.getLogger("restms.guard")


class Pace:
    """Lets a request's body come no faster than it is read, for Quart would keep it all."""

    def __init__(self, receive: ASGIReceiveCallable, proceed: Proceed | None) -> None:
        """Begin; `proceed` is called before the first piece, where the client waits for it."""
        self._receive = receive
        self._proceed = proceed
        self._wanted = trio.Event()
        if proceed is None:
            self._wanted.set()
        self.ended = False
        self._dropped = False

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next event, once somebody wants it."""
        if not self.ended:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if self._proceed is not None:
                proceed, self._proceed = self._proceed, None
                await proceed()
        while True:
            event = await self._receive()
            if event["type"] != "http.request" or not event.get("more_body"):
                self.ended = True
            elif self._dropped or not event["body"]:
                continue  # whoever wants more would not notice it
            break
        return event

    def more(self) -> None:
        """Let the next piece come."""
        self._wanted.set()

    def drop(self) -> None:
        """Let all come that still comes: nobody reads it, and Hypercorn waits until it is taken."""
        self._dropped = True
        self._proceed = None
        self._wanted.set()


class Guard:
    """Lets a body come no faster than it is read, and every answer end in peace.

    While the node drains, each answer is its connection's last: nobody has one open to it then,
    and sends a request just when it is closed.
    """

    def __init__(
        self, app: ASGIFramework, waits: Waits | None, access_log: AccessLog | None = None
    ) -> None:
        self._app = app
        self._waits = waits
        self._access_log = access_log

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        named = request_names.held()
        named.begin(_name(scope["headers"]))
        try:
            if self._access_log is None:
                await self._pass_on(scope, receive, send)
            else:
                await self._logged(self._access_log, named, scope, receive, send)
        finally:
            named.end()

    async def _logged(
        self,
        access_log: AccessLog,
        named: Named,
        scope: HTTPScope | WebsocketScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        since, status = now(), None

        async def noting(event: ASGISendEvent) -> None:
            nonlocal status
            status = _status(event) or status
            await send(event)

        try:
            await self._pass_on(scope, receive, noting)
        finally:
            client = scope["client"]
            method = scope["method"] if scope["type"] == "http" else "GET"
            access_log.answered(
                *(named.name, method, scope["path"], status, since),
                principal=named.principal,
                address=client[0] if client else "",
            )

    async def _pass_on(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "http":
            pace = None
            if scope["method"] in WITHOUT_BODY:
                receive = _without_body(receive)
            else:
                expects = any(name == b"expect" for name, _ in scope["headers"])
                proceed = scope.get("state", {}).get(PROCEED) if expects else None
                pace = Pace(receive, cast("Proceed | None", proceed))
                receive = pace.receive
                scope = cast("HTTPScope", {**scope, PACE: pace})
            try:
                await self._app(scope, receive, _ending_in_peace(send, pace, self._waits))
            except* RestMSError as errors:
                # Only a body that is sent as it comes: its end stays away, and so
                # Hypercorn closes the connection, which tells the client.
                for error in errors.exceptions:
                    _log.warning("an answer was cut short: %s", error)
        else:
            await self._app(scope, receive, send)


def _name(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return the headers that give a request its name, joined as the application has them."""
    given = [value.decode("latin-1") for name, value in headers if name == NAMING]
    return {NAMING.decode(): ", ".join(given)} if given else {}


def _status(event: ASGISendEvent) -> int | None:
    """Return the status of the answer that an event begins."""
    match event["type"]:
        case "http.response.start" | "websocket.http.response.start":
            return event["status"]
        case "websocket.accept":
            return 101
    return None


def _without_body(receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """Drop a body that nobody reads, or Quart would keep all of it."""

    async def receive_event() -> ASGIReceiveEvent:
        event = await receive()
        if event["type"] == "http.request":
            event["body"] = b""
        return event

    return receive_event


def _ending_in_peace(
    send: ASGISendCallable, pace: Pace | None, waits: Waits | None
) -> ASGISendCallable:
    """Keep the last event of an answer from being cancelled half way.

    With it Hypercorn tells the application that the stream is over, upon
    which Quart-Trio cancels the handler: this very call. Hypercorn would then
    never begin to time the connection's idleness, nor close it when it drains.
    """

    async def send_event(event: ASGISendEvent) -> None:
        last = event["type"] == "http.response.body" and not event.get("more_body")
        if event["type"] == "http.response.start":
            # Where nobody reads the rest, the client must not send another request behind it.
            draining = waits is not None and waits.draining
            if draining or (pace is not None and not pace.ended):
                event["headers"] = [*event["headers"], (b"connection", b"close")]
            if pace is not None:
                pace.drop()
        with trio.CancelScope(shield=last):
            await send(event)

    return send_event
