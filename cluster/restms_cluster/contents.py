"""Contents: staged by publishers, delivered with messages, stored in chunks apart from them."""

from restms_cluster import blobs
from restms_cluster.broker import MILLISECONDS, Broker, required
from restms_cluster.errors import NotFoundError, PreconditionFailedError
from restms_cluster.model import ALWAYS, Condition, Content
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.once import key_reused, once
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import (
    ContentDelete,
    ContentRead,
    ContentStage,
    MessageRead,
    PartDelete,
    PartRead,
)

CHUNK_BYTES = 256 * 1024


async def stage(broker: Broker, feed: FeedName, kind: str, data: bytes, key: str = "") -> Token:
    """Keep a content until a message names it, or its time is over.

    With a `key`, a repeated request gets the first one's content. Raises
    NotFoundError without the feed, KeyReusedError for a key of another request.
    """
    token = Token.new(Kind.CONTENT, feed.domain)
    asked = once(key, "content", kind, data)
    answer = await broker.run(staging(broker, feed, token, kind, data, asked))
    if answer.outcome is Outcome.EXISTS:
        return Token(Kind.CONTENT, answer.values[0].decode(), feed.domain)
    if answer.outcome is Outcome.ONCE_DIFFERS:
        raise key_reused()
    if answer.outcome is not Outcome.OK:
        raise NotFoundError("There is no such feed.")
    return token


def staging(
    broker: Broker, feed: FeedName, token: Token, kind: str, data: bytes, asked: str = ""
) -> ContentStage:
    """Return the transition that stages a content under a token."""
    keep = int(broker.limits.staged_seconds * MILLISECONDS)
    once_keep = int(broker.limits.idempotency_seconds * MILLISECONDS)
    view = memoryview(data)
    chunks = tuple(bytes(view[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES))
    return ContentStage(
        *(feed.domain, feed.key, token.secret, kind, len(data)), keep, asked, once_keep, chunks
    )


async def read(broker: Broker, token: Token) -> Content:
    """Return a staged content, or one of a message in a pipe."""
    if token.kind is Kind.CONTENT:
        answer = await broker.run(ContentRead(token.domain, token.secret))
    else:
        number, part = token.number or 0, token.content or 0
        answer = await broker.run(PartRead(token.domain, token.secret, number, part, broker.idle))
        if answer.outcome is Outcome.INSIDE:
            entry, blob = answer.values
            version = int(entry.partition(b"-")[2])
            embedded = blobs.embedded(blob, part)
            return Content(embedded.type, embedded.data, version)
    if answer.outcome is not Outcome.OK:
        raise NotFoundError("There is no such content.")
    kind, _, version, data = answer.values[0]
    if token.kind is not Kind.CONTENT:  # part of a message, it is as old as that is there
        version = answer.values[1].partition(b"-")[2]
    return Content(kind.decode(), data, int(version))


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
