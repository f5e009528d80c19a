"""A WebSocket client of the broker's, by wsproto.

with WebSocket(client, pipe) as socket:
    received = socket.message()
    socket.acknowledge(received["href"])
"""

import json
import socket
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import cbor2
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.conformance.client import BOUND_SECONDS, Client
from tests.conformance.documents import Element

JSON, CBOR = "restms", "restms.cbor"
SUBPROTOCOLS = (JSON, CBOR)


class RefusedError(Exception):
    """The server answered otherwise than by opening a WebSocket."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class ClosedError(Exception):
    """The server closed the WebSocket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class WebSocket:
    """A WebSocket on a pipe, open inside `with`, to the client's next node."""

    def __init__(
        self,
        client: Client,
        uri: str,
        *subprotocols: str,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        url = urlsplit(client.url(uri))
        target = f"{url.path}?{url.query}" if url.query else url.path
        self.subprotocol: str | None = None
        self.compressed = False
        self._at = (url.hostname or "", url.port or 80)
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._request = Request(
            host=url.netloc,
            target=target,
            subprotocols=list(subprotocols),
            extensions=[PerMessageDeflate()],
            extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        )

    def __enter__(self) -> Self:
        self._socket = socket.create_connection(self._at, timeout=BOUND_SECONDS)
        try:
            self._open()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, frame: str | bytes) -> None:
        """Send a frame, whatever it says."""
        event = TextMessage(frame) if isinstance(frame, str) else BytesMessage(frame)
        self._socket.sendall(self._connection.send(event))

    def send_bytes(self, data: bytes) -> None:
        """Send what may be no frame at all."""
        self._socket.sendall(data)

    def say(self, **said: Any) -> None:
        """Send an object."""
        self.send(json.dumps(said) if self.subprotocol == JSON else cbor2.dumps(said))

    def acknowledge(self, href: str) -> None:
        self.say(acknowledge=href)

    def frame(self) -> Element:
        """Return the next object; ClosedError where the server closes instead."""
        event = self._next()
        if isinstance(event, CloseConnection):
            raise ClosedError(event.code, event.reason or "")
        if isinstance(event, TextMessage):
            assert self.subprotocol == JSON
            return json.loads(event.data)
        assert isinstance(event, BytesMessage)
        assert self.subprotocol == CBOR
        return cbor2.loads(bytes(event.data))

    def said(self) -> Element:
        """Return the next object that is no heartbeat."""
        while not (found := self.frame()):
            pass
        return found

    def message(self) -> Element:
        """Return the next message."""
        return self.said()["message"]

    def ids(self, count: int = 1) -> list[str]:
        """Return the message_id of each of the next messages."""
        return [self.message()["message_id"] for _ in range(count)]

    def closed(self) -> ClosedError:
        """Return how the server closes, whatever comes before."""
        while True:
            try:
                self.frame()
            except ClosedError as closed:
                return closed

    def _open(self) -> None:
        self._socket.sendall(self._connection.send(self._request))
        event = self._next()
        if isinstance(event, RejectConnection):
            body = b""
            while event.has_body and not (
                isinstance(more := self._next(), RejectData) and more.body_finished
            ):
                body += bytes(more.data)
            raise RefusedError(event.status_code, (body + b"").decode())
        assert isinstance(event, AcceptConnection)
        self.subprotocol = event.subprotocol
        self.compressed = bool(event.extensions)

    def _next(self) -> Event:
        whole: Event | None = None
        while True:
            for event in self._connection.events():
                if isinstance(event, TextMessage | BytesMessage):
                    if whole is not None:
                        event.data = whole.data + event.data
                    whole = event
                    if not event.message_finished:
                        continue
                return event
            data = self._socket.recv(65536)
            if not data:
                raise ClosedError(1006, "the connection was cut")
            self._connection.receive_data(data)
