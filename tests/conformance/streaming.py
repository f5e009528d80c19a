"""Readers of endless bodies: each yields the messages of a stream, and None for a heartbeat."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import cbor2
import httpx

from tests.conformance.client import Client, expect
from tests.conformance.documents import CBOR, JSON, XML, Element

SSE, MULTIPART, CBOR_SEQ = "text/event-stream", "multipart/mixed", "application/cbor-seq"
TYPES = (SSE, MULTIPART, CBOR_SEQ)

Items = Iterator[Element | None]


def events(pieces: Iterator[bytes]) -> Items:
    """Read server-sent events as an EventSource does (HTML, section 9.2.6)."""
    data: list[str] = []
    identity = ""
    for line in _lines(pieces):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                (one,) = json.loads("\n".join(data))["restms"]["message"]
                assert one["href"] == identity
                yield one
            data = []
        elif not name:
            yield None
        elif name == "data":
            data.append(value)
        elif name == "id":
            identity = value
        elif name == "retry":
            assert value.isdigit()


def parts(pieces: Iterator[bytes], boundary: bytes) -> Items:
    """Read a multipart body as its parts come, each when its delimiter has come."""
    formats = {each.media_type: each for each in (XML, JSON, CBOR)}
    formats["text/xml"] = XML
    buffer = b"\r\n"
    first = True
    for piece in pieces:
        buffer += piece
        while (found := buffer.find(b"\r\n--" + boundary)) >= 0:
            part, buffer = buffer[:found], buffer[found + len(boundary) + 4 :]
            if first:
                assert not part
                first = False
                continue
            assert part.startswith(b"\r\n")
            head, _, body = part.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")[1:]
            headers = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}
            assert int(headers["Content-Length"]) == len(body)
            if "Content-Location" not in headers:
                assert not body
                yield None
                continue
            (one,) = formats[headers["Content-Type"]].read(body)["restms"]["message"]
            assert one["href"] == headers["Content-Location"]
            yield one
    assert buffer == b"--\r\n", "the last delimiter closes the body"


def sequence(pieces: Iterator[bytes]) -> Items:
    """Read a CBOR sequence, each item when the whole of it has come."""
    buffer = b""
    for piece in pieces:
        buffer += piece
        while buffer:
            source = BytesIO(buffer)
            try:
                item = cbor2.CBORDecoder(source).decode()
            except cbor2.CBORDecodeEOF:
                break
            buffer = buffer[source.tell() :]
            yield item
    assert not buffer


def reader(content_type: str) -> Callable[[Iterator[bytes]], Items]:
    """Return how to read a body of that type."""
    media_type, _, parameter = content_type.partition("; boundary=")
    if media_type == MULTIPART:
        boundary = parameter.strip('"').encode()
        assert boundary
        return lambda pieces: parts(pieces, boundary)
    return {SSE: events, CBOR_SEQ: sequence}[media_type]


class Stream:
    """A stream of a pipe, open inside `with`."""

    def __init__(self, client: Client, pipe: str, accept: str, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._request: Any = client.stream(pipe, {"accept": accept, **named})

    @property
    def headers(self) -> httpx.Headers:
        return self._response.headers

    def __enter__(self) -> Self:
        self._response: httpx.Response = expect_stream(self._request.__enter__())
        self._items = reader(self.headers["Content-Type"])(self._response.iter_raw())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._request.__exit__(kind, error, trace)

    def item(self) -> Element | None:
        """Return what comes next: a message, or None for a heartbeat."""
        return next(self._items)

    def take(self, count: int = 1) -> list[Element]:
        """Return the next messages."""
        found: list[Element] = []
        while len(found) < count:
            one = self.item()
            if one is not None:
                found.append(one)
        return found

    def ids(self, count: int = 1) -> list[str]:
        """Return the message_id of each of the next messages."""
        return [one["message_id"] for one in self.take(count)]

    def rest(self) -> list[Element]:
        """Return what comes until the body ends, which it must do properly."""
        return [one for one in self._items if one is not None]


def expect_stream(response: httpx.Response) -> httpx.Response:
    if response.status_code != 200:
        response.read()
    return expect(response, 200)


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    buffer = b""
    for piece in pieces:
        buffer += piece
        # A lone carriage return would end a line as well: ours has none.
        assert b"\r" not in buffer
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            yield line.decode()
    assert not buffer
