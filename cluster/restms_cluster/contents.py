"""Contents: of any size, kept in chunks apart from messages, read whole or in part."""

from collections.abc import AsyncGenerator

from restms_cluster import blobs
from restms_cluster.broker import MILLISECONDS, Broker, required
from restms_cluster.errors import NotFoundError, PreconditionFailedError, StateUnavailableError
from restms_cluster.model import ALWAYS, Condition, Content
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import MessageRead
from restms_cluster.transitions_content import (
    ChunkRead,
    ContentDelete,
    ContentRead,
    ContentStage,
    PartDelete,
    PartRead,
)

CHUNK_BYTES = 256 * 1024
"""Larger chunks are not faster, and others wait longer for Redis (docs/performance.md)."""


def staging(
    broker: Broker, feed: FeedName, token: Token, kind: str, data: bytes, asked: str = ""
) -> ContentStage:
    """Return the transition that stages a content, at hand as a whole, under a token."""
    view = memoryview(data)
    chunks = tuple(bytes(view[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES))
    return ContentStage(
        feed.domain,
        feed.key,
        token.secret,
        kind,
        len(data),
        int(broker.limits.staged_seconds * MILLISECONDS),
        asked,
        int(broker.limits.idempotency_seconds * MILLISECONDS),
        broker.most_bytes(feed.domain),
        chunks,
    )


async def read(broker: Broker, token: Token, *, with_data: bool = True) -> Content:
    """Return a staged content, or one of a message in a pipe.

    A content of one chunk comes with its bytes, unless they are not wanted.
    Raises NotFoundError where it is not there, or not any more.
    """
    most = CHUNK_BYTES if with_data else 0
    if token.kind is Kind.CONTENT:
        answer = await broker.run(ContentRead(token.domain, token.secret, most))
    else:
        number, part = token.number or 0, token.content or 0
        answer = await broker.run(
            PartRead(token.domain, token.secret, number, part, most, broker.idle)
        )
        if answer.outcome is Outcome.INSIDE:
            entry, blob = answer.values
            version = int(entry.partition(b"-")[2])
            embedded = blobs.embedded(blob, part)
            return Content(embedded.type, len(embedded.data), version, embedded.data)
    if answer.outcome is not Outcome.OK:
        raise NotFoundError("There is no such content.")
    kind, size, version, data = answer.values[0]
    if token.kind is not Kind.CONTENT:  # part of a message, it is as old as that is there
        version = answer.values[2].partition(b"-")[2]
    return Content(kind.decode(), int(size), int(version), data, answer.values[1].decode())


async def pieces(
    broker: Broker, token: Token, content: Content, first: int = 0, last: int | None = None
) -> AsyncGenerator[bytes]:
    """Yield a content's bytes from `first` to `last`, by default to its end, as they are asked for.

    Raises NotFoundError when the last who had the content is done with it meanwhile.
    """
    last = content.size - 1 if last is None else last
    if content.data is not None:
        yield content.data[first : last + 1]
        return
    pipe = "" if token.kind is Kind.CONTENT else token.secret
    while first <= last:
        answer = await broker.run(
            ChunkRead(token.domain, content.secret, first, last, pipe, broker.idle)
        )
        if answer.outcome is not Outcome.OK:
            raise NotFoundError("The content is no longer there.")
        data: bytes = answer.values[0]
        if not data:
            raise StateUnavailableError("A chunk of the content is missing in Redis.")
        yield data
        first += len(data)


async def delete(broker: Broker, token: Token, condition: Condition = ALWAYS) -> None:
    """Delete a staged content, or take one out of a pipe's copy of a message."""
    if token.kind is Kind.CONTENT:
        answer = await broker.run(ContentDelete(token.domain, token.secret, *required(condition)))
    else:
        number, part = token.number or 0, token.content or 0
        # Only the blob tells how many contents there are; none need come along.
        found = await broker.run(MessageRead(token.domain, token.secret, number, 0, broker.idle))
        if found.outcome is not Outcome.OK or part > blobs.count(found.values[1]):
            return
        answer = await broker.run(
            PartDelete(token.domain, token.secret, number, part, *required(condition), broker.idle)
        )
    if answer.outcome is Outcome.STALE:
        raise PreconditionFailedError("The content has changed since you read it.")
