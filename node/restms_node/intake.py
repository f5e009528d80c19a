"""The intake of a feed: a stream of messages in one request, routed as they arrive.

While one batch is routed the next is gathered, and nothing is read beyond
that: a slow broker slows its writer. Every message counts as routed only when
its batch is, so the count in the answer is where a client goes on.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeAlias

import trio

from restms_cluster import messages
from restms_cluster.errors import (
    BadRequestError,
    DrainingError,
    ForbiddenError,
    FullError,
    NotFoundError,
    RestMSError,
    TooLargeError,
)
from restms_cluster.levels import Level
from restms_cluster.model import Draft, Header, Sealed
from restms_cluster.names import FeedName
from restms_node.exchange import NO_STORE, Answer, Request
from restms_node.node import Node
from restms_node.refusals import refused
from restms_node.sequences import Messages
from restms_node.trees import Element
from restms_node.waiting import outcome_of

Drafting: TypeAlias = Callable[[Element, bytes], Draft | Sealed]

BATCH_MESSAGES = 1000
BATCH_BYTES = 1024 * 1024
DIVISIBLE = (BadRequestError, FullError, TooLargeError, NotFoundError, ForbiddenError)
"""What is wrong with one message of a batch perhaps, and certainly routed none of it."""


class Intake:
    """Routes the messages of one request into a feed; `answer` says how that went.

    `draft` makes of an item and its bytes what is to be published, or raises a RestMSError.
    """

    def __init__(self, node: Node, request: Request, feed: FeedName, draft: Drafting) -> None:
        self._node = node
        self._request = request
        self._feed = feed
        self._draft = draft
        self._most = min(BATCH_MESSAGES, node.settings.limits.messages_per_request)
        if node.limiter is not None:
            self._most = node.limiter.most_messages(request, self._most)
        self._routed = 0
        self._full = 0
        self._failure: RestMSError | None = None
        self._batch: list[Draft | Sealed] = []
        self._bytes = 0
        self._ended = False
        self._arrived = trio.Event()
        self._taken = trio.Event()
        self._receiving = trio.CancelScope()

    async def answer(self, pieces: AsyncIterator[bytes]) -> Answer:
        """Take the body's pieces up to its end, or as far as they can be taken.

        Raises UnavailableError, DrainingError where this node takes no stream now.
        """
        who = self._node.who(self._request)
        # It lasts as long as the client likes.
        with self._node.waits.place(who, self._feed.domain) as place:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_when_draining)
                nursery.start_soon(self._receive, pieces)
                await self._route_all()
                nursery.cancel_scope.cancel()
            if self._failure is not None:
                place.outcome = outcome_of(self._failure)
        routed = ("RestMS-Routed", str(self._routed))
        full = (("RestMS-Full", str(self._full)),) if self._full else ()
        if self._failure is None:
            level = self._node.broker.durability.of(self._feed)
            return Answer(200, (routed, *full, *survived(level), NO_STORE))
        # What an error says of its request is true of the message that it is about.
        text = self._failure.text.replace("; nothing was routed", "").rstrip(".")
        self._failure.text = f"{text}; messages of the stream routed before: {self._routed}."
        return refused(self._node, self._request, self._failure).having(routed, *full)

    async def _receive(self, pieces: AsyncIterator[bytes]) -> None:
        sequence = Messages(self._node.settings.limits.document_bytes)
        try:
            with self._receiving:
                async for piece in pieces:
                    for element, blob in sequence.take(piece):
                        await self._until_room_for(len(blob))
                        self._batch.append(self._draft(element, blob))
                        self._bytes += len(blob)
                        self._arrived.set()
                sequence.end()
        except RestMSError as error:
            self._failure = self._failure or error
        self._ended = True
        self._arrived.set()

    async def _until_room_for(self, size: int) -> None:
        while self._batch and (len(self._batch) >= self._most or self._bytes + size > BATCH_BYTES):
            self._taken = trio.Event()
            await self._taken.wait()

    async def _route_all(self) -> None:
        while True:
            await self._arrived.wait()
            if not self._batch:
                return
            batch, self._batch, self._bytes = self._batch, [], 0
            if not self._ended:
                self._arrived = trio.Event()
            self._taken.set()
            try:
                await self._until_allowed(len(batch))
                await self._route_traced(batch)
            except RestMSError as error:
                self._failure = error
                return

    async def _until_allowed(self, count: int) -> None:
        limiter = self._node.limiter
        if limiter is not None and limiter.on:
            await limiter.wait_for_messages(self._request, self._feed, count, self._node.waits)

    async def _route_traced(self, batch: Sequence[Draft | Sealed]) -> None:
        if self._node.tracing is None:
            await self._route(batch)
            return
        with self._node.tracing.publishing(self._request, self._feed) as traced:
            await self._route(batch, traced.carried(batch))

    async def _route(self, batch: Sequence[Draft | Sealed], carried: Sequence[Header] = ()) -> None:
        """Route a batch, or of one that is refused as much as comes before what is at fault."""
        try:
            receipt = await messages.publish(self._node.broker, self._feed, batch, carried=carried)
        except DIVISIBLE:
            if len(batch) == 1:
                raise
            half = len(batch) // 2
            await self._route(batch[:half], carried)
            await self._route(batch[half:], carried)
        else:
            self._routed += len(batch)
            self._full += sum(message.full for message in receipt.routed)

    async def _end_when_draining(self) -> None:
        await self._node.waits.until_draining()
        self._failure = DrainingError("This node is going down; another one will take the rest.")
        self._receiving.cancel()


def survived(level: Level) -> tuple[tuple[str, str], ...]:
    """Return the header that tells what the messages have survived, where it is more than usual."""
    return (("RestMS-Durability", str(level)),) if level else ()
