"""A small ASGI layer between Hypercorn and Quart, for what neither of them sees to."""

import logging
from typing import cast
from urllib.parse import urlsplit

import trio
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

from restms_cluster.errors import RestMSError

BODY_SECONDS = 5.0
PACE = "restms.pace"  # the scope's key
WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")

_log = logging.getLogger("restms.guard")


class Pace:
    """Lets a request's body come no faster than it is read, for Quart would keep it all."""

    def __init__(self, receive: ASGIReceiveCallable) -> None:
        self._receive = receive
        self._wanted = trio.Event()
        self._wanted.set()
        self._ended = False
        self._dropped = False

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next event, once somebody wants it."""
        if not self._ended:
            await self._wanted.wait()
            self._wanted = trio.Event()
        while True:
            event = await self._receive()
            if event["type"] != "http.request" or not event.get("more_body"):
                self._ended = True
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
        self._wanted.set()


class Guard:
    """Refuses what could smuggle a second request past a proxy; lets every answer end in peace."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass a request on, or answer it with 400 and end its connection (RFC 9112 6.1)."""
        if scope["type"] == "http":
            fault = _fault(scope)
            if fault is not None:
                if await _read_on(receive):
                    await _refuse(send, fault)
                return
            pace = None
            if scope["method"] in WITHOUT_BODY:
                receive = _without_body(receive)
            else:
                pace = Pace(receive)
                receive = pace.receive
                scope = cast("HTTPScope", {**scope, PACE: pace})
            try:
                await self._app(scope, receive, _ending_in_peace(send, pace))
            except* RestMSError as errors:
                # Only a body that is sent as it comes: its end stays away, and so
                # Hypercorn closes the connection, which tells the client.
                for error in errors.exceptions:
                    _log.warning("an answer was cut short: %s", error)
                if scope["http_version"] == "2":
                    # There the connection goes on: a body shorter than its length tells.
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif scope["type"] == "websocket":
            if _names_a_path(scope["path"]):
                _decline_compression(send)
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1002, "reason": None})
        else:
            await self._app(scope, receive, send)


def _fault(scope: HTTPScope) -> str | None:
    """Return the sentence that tells why a request is refused whatever it wants; or None."""
    names = [name.lower() for name, _ in scope["headers"]]
    if b"transfer-encoding" in names and b"content-length" in names:
        return "A request has either Content-Length or Transfer-Encoding, not both."
    return None if _names_a_path(scope["path"]) else "The request's target is not a path or a URI."


def _names_a_path(target: str) -> bool:
    """Tell whether a request's target has a path (RFC 9112 3.2): Quart fails where it has none."""
    if target.startswith(("/", "*")):
        return True
    try:
        return urlsplit(target).path.startswith("/")
    except ValueError:
        return False


def _decline_compression(send: ASGISendCallable) -> None:
    """Overlook a WebSocket client's offer to compress, for Hypercorn would always take it up.

    That costs some 300 KB a connection, and a frame may then grow a thousandfold
    before anybody looks at its size. There is no option for it.
    """
    stream = getattr(send, "__self__", None)
    if isinstance(stream, WSStream):
        stream.handshake.extensions = None


def _without_body(receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """Drop a body that nobody reads, or Quart would keep all of it."""

    async def receive_event() -> ASGIReceiveEvent:
        event = await receive()
        if event["type"] == "http.request":
            event["body"] = b""
        return event

    return receive_event


def _ending_in_peace(send: ASGISendCallable, pace: Pace | None) -> ASGISendCallable:
    """Keep the last event of an answer from being cancelled half way.

    With it Hypercorn tells the application that the stream is over, upon
    which Quart-Trio cancels the handler: this very call. Hypercorn would then
    never begin to time the connection's idleness, nor close it when it drains.
    """

    async def send_event(event: ASGISendEvent) -> None:
        last = event["type"] == "http.response.body" and not event.get("more_body")
        if pace is not None and event["type"] == "http.response.start":
            pace.drop()
        with trio.CancelScope(shield=last):
            await send(event)

    return send_event


async def _read_on(receive: ASGIReceiveCallable) -> bool:
    """Read the body away; tell whether there is still somebody to answer.

    While Hypercorn reads it may find what follows to be no HTTP, answer that
    itself, and close: two answers at a time would break each other.
    """
    with trio.move_on_after(BODY_SECONDS):
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return False
            if event["type"] == "http.request" and not event.get("more_body"):
                return True
    return True


async def _refuse(send: ASGISendCallable, fault: str) -> None:
    body = f"{fault}\n".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 400,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
