"""The message: GET reads it, waiting where it is an asynclet; DELETE acknowledges it."""

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

from restms_cluster import messages, pipes
from restms_cluster.model import Message, Packed
from restms_cluster.names import Token
from restms_cluster.readers import Pull, Reader
from restms_node import documents, documents_cbor
from restms_node.conditions import changed_since, etag
from restms_node.descriptions import VARY, document, unchanged, validators, waited
from restms_node.exchange import NO_STORE, Answer, Request
from restms_node.negotiation import choose
from restms_node.node import Node
from restms_node.representations import Representation

if TYPE_CHECKING:
    from restms_node.tracing import Delivering


def describe(node: Node, request: Request, token: Token) -> Awaitable[Answer]:
    """GET: the message; on the one that comes next, as soon as it is there; 204 if it is not."""
    # No coroutine of its own: it would take 0.5 KB of each request that waits.
    if node.tracing is None or request.method == "HEAD":
        return _describe(node, request, token)
    return _describe_traced(node.tracing.delivering(request, token), node, request, token)


async def _describe_traced(
    traced: "Delivering", node: Node, request: Request, token: Token
) -> Answer:
    with traced:
        return await _describe(node, request, token, traced)


async def _describe(
    node: Node, request: Request, token: Token, traced: "Delivering | None" = None
) -> Answer:
    representation = choose(request.header("accept"))
    packed = representation.read is documents_cbor.read
    when = (request.header("when-none-match"), request.header("when-modified-after"))

    async def wanted(pull: Pull) -> Message | Packed | None:
        found = await reader.read(pull)
        if found is None or when == (None, None):
            return found
        # A message never changes, so this can only end when it is deleted.
        tag = etag(found.version, representation.suffix)
        return found if changed_since(found.version, tag, *when) else None

    seconds = node.wait_seconds(request)
    hints = pipes.hints(token.pipe())
    # Looking whether there is a message takes none.
    first = Pull.NOTHING if request.method == "HEAD" else Pull.TAKE
    async with Reader(node.broker, token, packed=packed) as reader:
        found: Message | Packed | None = await node.until(
            request, hints, partial(wanted, first), partial(wanted, Pull.WAIT)
        )
    if found is None:
        return waited(seconds)
    if traced is not None:
        traced.one(found)
    if unchanged(request, found.version, representation.suffix):
        answer = Answer(304, (VARY,))
    else:
        answer = _document(request, representation, found)
        if request.method != "HEAD":
            node.broker.counts.messages[token.domain].delivered += 1
    if request.prefer.wait is not None:
        answer = answer.having(("Preference-Applied", f"wait={seconds}"))
    return answer.having(*validators(found.version, representation.suffix), NO_STORE)


async def acknowledge(node: Node, request: Request, token: Token) -> Answer:
    """DELETE: the message and all older ones leave the pipe."""
    if node.tracing is None:
        await messages.delete(node.broker, token, request.condition)
    else:
        with node.tracing.acknowledging(request, token):
            await messages.delete(node.broker, token, request.condition)
    return Answer(200)


def _document(request: Request, representation: Representation, found: Message | Packed) -> Answer:
    if isinstance(found, Packed):
        content_type = ("Content-Type", representation.media_type)
        return Answer(200, (content_type, VARY), documents_cbor.wrap_message(found.blob))
    return document(200, representation, documents.message_tree(found, request.uris))
