"""Messages: published to a feed, read from a pipe, acknowledged by deleting them."""

import secrets
from collections.abc import Sequence
from typing import Any

from restms_cluster import blobs, contents
from restms_cluster.broker import Broker, required
from restms_cluster.errors import (
    ForbiddenError,
    FullError,
    NotFoundError,
    PreconditionFailedError,
    RestMSError,
    TooLargeError,
)
from restms_cluster.model import (
    ALWAYS,
    Condition,
    Draft,
    Embedded,
    Message,
    Packed,
    Routed,
    Staged,
    Stored,
)
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.scripts import Argument, Outcome
from restms_cluster.transitions import (
    ContentDelete,
    ContentStage,
    MessageDelete,
    MessagePublish,
    MessageRead,
)


async def publish(broker: Broker, feed: FeedName, drafts: Sequence[Draft]) -> list[Routed]:
    """Route messages, all of them or none, in one round trip.

    Raises NotFoundError without the feed or a staged content; ForbiddenError
    for a content staged on another feed; FullError where all the
    pipes that want a message are full, TooLargeError for more deliveries than
    Redis should do in one step (nothing is routed then).
    """
    steps: list[ContentStage] = []
    arguments: list[Argument] = []
    for draft in drafts:
        kept = tuple(_apart(broker, feed, content, steps) for content in draft.contents)
        kept_draft = Draft(draft.properties, draft.headers, kept)
        staged = [_secret(feed, content) for content in kept]
        arguments += (
            draft.address,
            draft.properties.get("message_id", ""),
            blobs.pack(kept_draft),
            " ".join(staged) if any(word != "-" for word in staged) else "",
        )
    most, deliveries = broker.limits.messages_per_pipe, broker.limits.deliveries_per_request
    nonce = secrets.token_hex(8)
    publishing = MessagePublish(feed.domain, feed.key, most, deliveries, nonce, tuple(arguments))
    answer = (await broker.run_all(*steps, publishing))[-1]
    if answer.outcome is not Outcome.OK:
        if steps:  # what was put aside for this request is of no use to another
            staged_here = [step.content for step in steps]
            await broker.run_all(
                *(ContentDelete(feed.domain, content, "", "") for content in staged_here)
            )
        raise _refusal(answer.outcome, deliveries)
    counts = iter(answer.values)
    return [Routed(count, full) for count, full in zip(counts, counts, strict=True)]


async def read(broker: Broker, token: Token, *, packed: bool = False) -> Message | Packed | None:
    """Return a message, or None where it is the next that will come.

    `packed` asks for the stored form, where that says all. Raises
    NotFoundError where the message was acknowledged, or cannot come next.
    """
    number, embed = token.number or 0, broker.limits.embed_bytes
    answer = await broker.run(MessageRead(token.domain, token.secret, number, embed, broker.idle))
    if answer.outcome is Outcome.NEXT:
        return None
    if answer.outcome is not Outcome.OK:
        raise NotFoundError("There is no such message.")
    entry, blob, parts, dropped = answer.values
    # Each content that was taken out is a change of the message.
    version = int(entry.partition(b"-")[2]) + len(dropped)
    if packed and not parts and not dropped and len(blob) <= embed:
        return Packed(token, version, blob)
    gone = {int(name.partition(b"-")[2]) for name in dropped}
    properties, headers, embedded = blobs.unpack(blob)
    delivered: list[Embedded | Stored] = []
    for place, content in enumerate(embedded, start=1):
        if place in gone:
            continue
        if content is None:
            delivered.append(_stored(parts[place - 1], token.part(place)))
        else:
            delivered.append(_within(content, token.part(place), embed))
    return Message(token, version, properties, headers, tuple(delivered))


async def delete(broker: Broker, token: Token, condition: Condition = ALWAYS) -> None:
    """Acknowledge a message and all older ones of its pipe. What is gone already is fine."""
    while True:
        answer = await broker.run(
            MessageDelete(
                token.domain, token.secret, token.number or 0, *required(condition), broker.idle
            )
        )
        if answer.outcome is Outcome.STALE:
            raise PreconditionFailedError("The message is not the one that you read.")
        if answer.outcome is not Outcome.MORE:
            return


def _apart(
    broker: Broker, feed: FeedName, content: Embedded | Staged, steps: list[ContentStage]
) -> Embedded | Staged:
    """Stage an embedded content that is too large for a blob, ahead of its message."""
    if isinstance(content, Staged):
        return content
    data = content.data
    if len(data) <= broker.limits.embed_bytes:
        return content
    token = Token.new(Kind.CONTENT, feed.domain)
    steps.append(contents.staging(broker, feed, token, content.type, data))
    return Staged(token)


def _secret(feed: FeedName, content: Embedded | Staged) -> str:
    if isinstance(content, Embedded):
        return "-"
    if content.token.kind is not Kind.CONTENT:
        raise NotFoundError("A message can name staged contents only.")
    if content.token.domain != feed.domain:
        raise ForbiddenError("That content was staged on another feed.")
    return content.token.secret


def _stored(part: Sequence[Any], token: Token) -> Embedded | Stored:
    kind, size, _, data = part
    if data is None:
        return Stored(token, kind.decode(), int(size))
    return Embedded(kind.decode(), data)


def _within(content: Embedded, token: Token, embed: int) -> Embedded | Stored:
    size = len(content.data)
    return content if size <= embed else Stored(token, content.type, size)


def _refusal(outcome: Outcome, deliveries: int) -> RestMSError:
    match outcome:
        case Outcome.NO_CONTENT:
            return NotFoundError(
                "A content that the request names is not there, or was published already; "
                "nothing was routed."
            )
        case Outcome.OTHER_FEED:
            return ForbiddenError(
                "A content that the request names was staged on another feed; nothing was routed."
            )
        case Outcome.FULL:
            return FullError(
                "No pipe that wants one of the messages has room for it; nothing was routed.",
                retry_after=5,
            )
        case Outcome.TOO_MANY:
            return TooLargeError(
                f"The request comes to more than {deliveries} deliveries; nothing was routed. "
                "Post fewer messages at once."
            )
        case _:
            return NotFoundError("There is no such feed.")
