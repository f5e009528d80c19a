"""The content: GET sends its bytes under the MIME type it was published with; DELETE drops it."""

from contextlib import aclosing

from restms_cluster import contents
from restms_cluster.names import Token
from restms_node import ranges
from restms_node.conditions import etag
from restms_node.descriptions import unchanged, validators
from restms_node.exchange import NO_STORE, Answer, Request
from restms_node.node import Node
from restms_node.problems import sentence

RAW = "raw"  # in a content's ETag, where descriptions have their representation
RANGES = ("Accept-Ranges", "bytes")


async def fetch(node: Node, request: Request, token: Token) -> Answer:
    """GET: the bytes, or a range of them. Accept is not asked: a content has its one type."""
    content = await contents.read(node.broker, token, with_data=request.method != "HEAD")
    headers = (*validators(content.version, RAW), RANGES, NO_STORE)
    if unchanged(request, content.version, RAW):
        return Answer(304, headers)
    try:
        part = _range(request, content.version, content.size)
    except ranges.UnsatisfiableError:
        refusal = sentence(416, f"The content has {content.size} bytes, none of them in the range.")
        return refusal.having(
            ("RestMS-Error", "bad_range"), RANGES, _content_range("*", content.size)
        )
    status, first, last = 200, 0, content.size - 1
    if part is not None:
        status, (first, last) = 206, part
        headers = (*headers, _content_range(f"{first}-{last}", content.size))
    # A publisher's page must not run as a page of this server.
    sandbox = ("Content-Security-Policy", "sandbox; default-src 'none'")
    headers = (("Content-Type", content.type), sandbox, *headers)
    if content.data is not None:
        return Answer(status, headers, content.data[first : last + 1])
    return Answer(
        status,
        headers,
        stream=lambda: aclosing(contents.pieces(node.broker, token, content, first, last)),
        length=last + 1 - first,
    )


async def remove(node: Node, request: Request, token: Token) -> Answer:
    """DELETE: a staged content is gone; a delivered one is gone from this pipe."""
    await contents.delete(node.broker, token, request.condition)
    return Answer(200)


def _range(request: Request, version: int, size: int) -> tuple[int, int] | None:
    if request.method != "GET":  # RFC 9110 14.2
        return None
    if not ranges.still(request.header("if-range"), etag(version, RAW), version):
        return None
    return ranges.requested(request.header("range"), size)


def _content_range(part: str, size: int) -> tuple[str, str]:
    return "Content-Range", f"bytes {part}/{size}"
