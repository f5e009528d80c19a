"""The content: GET sends its bytes under the MIME type it was published with; DELETE drops it."""

from restms_cluster import contents
from restms_cluster.names import Token
from restms_node.descriptions import unchanged, validators
from restms_node.exchange import NO_STORE, Answer, Request
from restms_node.node import Node

RAW = "raw"  # in a content's ETag, where descriptions have their representation


async def fetch(node: Node, request: Request, token: Token) -> Answer:
    """GET: the bytes. Accept is not asked: a content has the one type that it has."""
    content = await contents.read(node.broker, token)
    headers = (*validators(content.version, RAW), NO_STORE)
    if unchanged(request, content.version, RAW):
        return Answer(304, headers)
    # A publisher's page must not run as a page of this server.
    sandbox = ("Content-Security-Policy", "sandbox; default-src 'none'")
    return Answer(200, (("Content-Type", content.type), sandbox, *headers), content.data)


async def remove(node: Node, request: Request, token: Token) -> Answer:
    """DELETE: a staged content is gone; a delivered one is gone from this pipe."""
    await contents.delete(node.broker, token, request.condition)
    return Answer(200)
