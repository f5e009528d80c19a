"""Streaming a pipe: GET with the type of a stream has all its messages in one endless body.

Acknowledging stays a DELETE. The next messages are read when those before have been
sent: a slow reader slows its own stream, and has so much of it in memory and no more.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from restms_cluster.errors import (
    BadRequestError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedTypeError,
)
from restms_cluster.inbox import Inbox
from restms_cluster.names import Token
from restms_cluster.readers import Pull
from restms_node.deliveries import Deliveries
from restms_node.descriptions import VARY
from restms_node.exchange import NO_STORE, Answer, Request
from restms_node.framings import FRAMINGS, Framing
from restms_node.negotiation import MEDIA_TYPES, choose, choose_among
from restms_node.node import Node
from restms_node.representations import REPRESENTATIONS, Representation, find
from restms_node.tail import Tail

OFFERED = (*MEDIA_TYPES, *FRAMINGS)
KINDS = dict(zip(FRAMINGS, ("events", "multipart", "cbor-seq"), strict=True))
"""What the metrics call the types of streams."""
UNBUFFERED = ("X-Accel-Buffering", "no")  # nginx would keep messages until it has many


def chosen(accept: str | None) -> str | None:
    """Return the type of stream that a client likes best, None where it likes a document better.

    Raises UnsupportedTypeError where it accepts neither.
    """
    if not accept or find(accept) is not None:
        return None
    media_type = choose_among(accept, OFFERED)
    return media_type if media_type in FRAMINGS else None


async def read(node: Node, request: Request, token: Token, media_type: str) -> Answer:
    """Answer with the messages of a pipe, from the oldest one on, or from Last-Event-ID on."""
    after = _after(request, token)
    framer = FRAMINGS[media_type]
    framing = framer(Deliveries(request.uris, token), _representation(request))
    # What would end the stream at once is better said in a status.
    node.waits.check(node.who(request), token.domain)
    async with Inbox(node.broker, token) as inbox:
        await inbox.read(Pull.NOTHING, 1, 1)

    @asynccontextmanager
    async def body() -> AsyncIterator[AsyncIterator[bytes]]:
        tail = Tail(node, request, token, KINDS[media_type], after=after)
        async with aclosing(_pieces(tail, framing)) as pieces:
            yield pieces

    content_type = ("Content-Type", framing.content_type)
    return Answer(200, (content_type, VARY, NO_STORE, UNBUFFERED), stream=body)


async def _pieces(tail: Tail, framing: Framing) -> AsyncGenerator[bytes, None]:
    if framing.start:
        yield framing.start
    try:
        async with tail:
            while True:
                found = await tail.next()
                if found is None:
                    yield framing.beat
                    continue
                with tail.delivered(found):
                    yield b"".join([framing.frame(one) for one in found])
    except (NotFoundError, UnavailableError, UnauthorizedError):
        # The pipe is deleted, the node goes down, the credentials have ended: whoever asks
        # again is told.
        if framing.end:
            yield framing.end


def _after(request: Request, token: Token) -> int:
    """Return the number of the message that the client had last; 0 where it tells of none."""
    last = (request.header("last-event-id") or "").strip()
    if not last:
        return 0
    try:
        target = request.uris.reference(request.path, last)
    except (BadRequestError, NotFoundError):
        target = None
    number = target.number if isinstance(target, Token) else None
    if number is None or token.message(number) != target:
        raise BadRequestError("Last-Event-ID is not the URI of a message of this pipe.")
    return number


def _representation(request: Request) -> Representation:
    try:
        return choose(request.header("accept"))
    except UnsupportedTypeError:  # it accepts a stream, and leaves to us of what
        return REPRESENTATIONS[0]
