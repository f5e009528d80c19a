"""Reading a pipe in batches: GET {pipe}?messages=N has up to N whole messages in one document."""

from functools import partial
from typing import TYPE_CHECKING

from restms_cluster import pipes
from restms_cluster.inbox import Delivered, Inbox
from restms_cluster.names import Token
from restms_cluster.readers import Pull
from restms_node.deliveries import Deliveries
from restms_node.descriptions import VARY, waited
from restms_node.exchange import NO_STORE, Answer, Request
from restms_node.negotiation import choose
from restms_node.node import Node

if TYPE_CHECKING:
    from restms_node.tracing import Delivering


async def read(node: Node, request: Request, token: Token, most: int) -> Answer:
    """Answer with the oldest messages, as soon as there is one; 204 where there is none."""
    if node.tracing is None or request.method == "HEAD":
        return await _read(node, request, token, most)
    with node.tracing.delivering(request, token) as traced:
        return await _read(node, request, token, most, traced)


async def _read(
    node: Node, request: Request, token: Token, most: int, traced: "Delivering | None" = None
) -> Answer:
    representation = choose(request.header("accept"))
    limits = node.settings.limits
    most, room = min(most, limits.messages_read), limits.read_bytes

    async def some(pull: Pull) -> list[Delivered] | None:
        return await inbox.read(pull, most, room) or None

    seconds = node.wait_seconds(request)
    # Looking whether there are messages takes none.
    first = Pull.NOTHING if request.method == "HEAD" else Pull.TAKE
    async with Inbox(node.broker, token) as inbox:
        found = await node.until(
            request, pipes.hints(token), partial(some, first), partial(some, Pull.WAIT)
        )
    if found is None:
        return waited(seconds)
    if request.method != "HEAD":
        node.broker.counts.messages[token.domain].delivered += len(found)
    if traced is not None:
        traced.several(found)
    document = Deliveries(request.uris, token).document(representation, found)
    answer = Answer(200, (("Content-Type", representation.media_type), VARY, NO_STORE), document)
    if request.prefer.wait is not None:
        answer = answer.having(("Preference-Applied", f"wait={seconds}"))
    return answer
