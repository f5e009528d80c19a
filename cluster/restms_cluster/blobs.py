"""A message's stored form: one CBOR blob, which is its element in a CBOR document.

So a reader of CBOR gets it as it is. A content that was staged is stored
apart; its place in the blob holds an empty map.
"""

from collections.abc import Sequence
from typing import Any

import cbor2

from restms_cluster.errors import NotFoundError
from restms_cluster.model import Draft, Embedded, Header

_HEADERS = cbor2.dumps("header")


def pack(draft: Draft) -> bytes:
    """Return the stored form of a message."""
    element: dict[str, Any] = {name: value for name, value in draft.properties.items() if value}
    element["address"] = draft.address
    if draft.headers:
        element["header"] = [{"name": h.name, "value": h.value} for h in draft.headers]
    if draft.contents:
        element["content"] = [
            _content(content) if isinstance(content, Embedded) else {} for content in draft.contents
        ]
    return cbor2.dumps(element)


def carrying(blob: bytes, headers: Sequence[Header], *, after_others: bool) -> bytes:
    """Return the stored form of a message with these headers as its last.

    Whether it has others already is known to who calls: without, nothing is decoded.
    """
    added = [{"name": header.name, "value": header.value} for header in headers]
    if after_others:
        element: dict[str, Any] = cbor2.loads(blob)
        own = element.pop("header", [])
        return cbor2.dumps({**element, "header": own + added})
    # A map of few pairs: its head is one byte, and has room for one pair more.
    return b"".join((bytes((blob[0] + 1,)), blob[1:], _HEADERS, cbor2.dumps(added)))


def unpack(blob: bytes) -> tuple[dict[str, str], tuple[Header, ...], list[Embedded | None]]:
    """Return a message's properties, headers and contents, None for each stored apart."""
    element = cbor2.loads(blob)
    headers = tuple(Header(h["name"], h["value"]) for h in element.pop("header", ()))
    contents = [
        Embedded(content["type"], content["value"]) if content else None
        for content in element.pop("content", ())
    ]
    return element, headers, contents


def count(blob: bytes) -> int:
    """Return how many contents a message has."""
    return len(unpack(blob)[2])


def embedded(blob: bytes, part: int) -> Embedded:
    """Return the content of that number, from 1; NotFoundError if there is none in the blob."""
    contents = unpack(blob)[2]
    content = contents[part - 1] if part <= len(contents) else None
    if content is None:
        raise NotFoundError("There is no such content.")
    return content


def _content(content: Embedded) -> dict[str, Any]:
    element: dict[str, Any] = {"type": content.type, "value": content.value}
    if isinstance(content.value, str):
        element["encoding"] = "plain"
    return element
