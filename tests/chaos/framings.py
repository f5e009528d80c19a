"""Endless bodies taken apart as they come: each yields messages, and None for a heartbeat."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from io import BytesIO

import cbor2

from tests.conformance.documents import XML, Element

Items = AsyncGenerator[Element | None]


async def events(pieces: AsyncIterator[bytes]) -> Items:
    """Read server-sent events of this server: an id and one line of data."""
    buffer = b""
    async for piece in pieces:
        *whole, buffer = (buffer + piece).split(b"\n\n")
        for event in whole:
            data = [line[6:] for line in event.split(b"\n") if line.startswith(b"data: ")]
            yield json.loads(data[0])["restms"]["message"][0] if data else None


async def parts(pieces: AsyncIterator[bytes], boundary: bytes) -> Items:
    """Read the parts of a multipart body, each when its delimiter has come."""
    buffer = b"\r\n"
    async for piece in pieces:
        *whole, buffer = (buffer + piece).split(b"\r\n--" + boundary)
        for part in whole:
            body = part.partition(b"\r\n\r\n")[2]
            if part.strip():
                yield XML.read(body)["restms"]["message"][0] if body else None


async def sequence(pieces: AsyncIterator[bytes]) -> Items:
    """Read a CBOR sequence, each item when the whole of it has come."""
    buffer = b""
    async for piece in pieces:
        buffer += piece
        while buffer:
            source = BytesIO(buffer)
            try:
                item = cbor2.CBORDecoder(source).decode()
            except cbor2.CBORDecodeEOF:
                break
            buffer = buffer[source.tell() :]
            yield item


def framing(content_type: str) -> Callable[[AsyncIterator[bytes]], Items]:
    """Return how to read a body of that type."""
    media_type, _, parameter = content_type.partition("; boundary=")
    if media_type == "multipart/mixed":
        return lambda pieces: parts(pieces, parameter.strip('"').encode())
    return {"text/event-stream": events, "application/cbor-seq": sequence}[media_type]
