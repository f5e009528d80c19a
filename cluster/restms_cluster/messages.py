"""Messages: published to a feed, acknowledged by deleting them from a pipe."""

import secrets
from collections.abc import Sequence

from restms_cluster import blobs, contents, matching
from restms_cluster.broker import MILLISECONDS, Broker, required
from restms_cluster.errors import (
    BadRequestError,
    ForbiddenError,
    FullError,
    NotFoundError,
    PreconditionFailedError,
    RestMSError,
    TooLargeError,
    UnavailableError,
)
from restms_cluster.model import (
    ALWAYS,
    Condition,
    Draft,
    Embedded,
    Receipt,
    Routed,
    Staged,
)
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.once import key_reused, once
from restms_cluster.scripts import Argument, Outcome
from restms_cluster.terms import PLAIN
from restms_cluster.transitions import (
    ContentDelete,
    ContentStage,
    MessageDelete,
    MessagePublish,
)

CONTENTS = 3  # the place of a message's contents among its arguments


async def publish(
    broker: Broker, feed: FeedName, drafts: Sequence[Draft], key: str = ""
) -> Receipt:
    """Route messages, all of them or none, in one round trip.

    With a `key`, a repeated request routes nothing and has the first one's
    answer. Raises NotFoundError without the feed or a staged content;
    ForbiddenError for a content staged on another feed; FullError where all the
    pipes that want a message, or the feed that queues it, are full;
    UnavailableError while too many large fan-outs are under way; TooLargeError
    for more deliveries than a request may have, or messages that too many joins
    begin like; BadRequestError for an address of too many words; KeyReusedError for a key of
    another request. Nothing is routed then.
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
            matching.carried(draft.headers) if draft.headers else "",
            "" if draft.terms is PLAIN else str(draft.terms),
        )
    deliveries = broker.limits.deliveries_per_request
    publishing = MessagePublish(
        feed.domain,
        feed.key,
        broker.bounds,
        deliveries,
        secrets.token_hex(8),
        _asked(key, drafts, arguments),
        int(broker.limits.idempotency_seconds * MILLISECONDS),
        tuple(arguments),
    )
    answer = (await broker.run_all(*steps, publishing))[-1]
    if answer.outcome is not Outcome.OK:
        if steps:  # what was put aside for this request is of no use to another
            staged_here = [step.content for step in steps]
            await broker.run_all(
                *(ContentDelete(feed.domain, content, "", "") for content in staged_here)
            )
        raise _refusal(answer.outcome, deliveries)
    counted, *counts = answer.values
    pairs = zip(counts[::2], counts[1::2], strict=True)
    return Receipt(counted == 1, tuple([Routed(count, full) for count, full in pairs]))


async def delete(broker: Broker, token: Token, condition: Condition = ALWAYS) -> None:
    """Acknowledge a message and all older ones of its pipe. What is gone already is fine."""
    while True:
        answer = await broker.run(
            MessageDelete(
                token.domain,
                token.secret,
                token.number or 0,
                *required(condition),
                broker.idle,
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


def _asked(key: str, drafts: Sequence[Draft], arguments: Sequence[Argument]) -> str:
    if not key:
        return ""
    # A content that is put aside anew for a repeat has another name: its bytes count.
    fields = [argument for place, argument in enumerate(arguments) if place % 6 != CONTENTS]
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in fields]
    for draft in drafts:
        for content in draft.contents:
            if isinstance(content, Staged):
                parts.append(str(content.token).encode())
            else:
                parts.append(content.data)
    return once(key, "messages", parts=parts)


def _secret(feed: FeedName, content: Embedded | Staged) -> str:
    if isinstance(content, Embedded):
        return "-"
    if content.token.kind is not Kind.CONTENT:
        raise NotFoundError("A message can name staged contents only.")
    if content.token.domain != feed.domain:
        raise ForbiddenError("That content was staged on another feed.")
    return content.token.secret


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
        case Outcome.QUEUE_FULL:
            return FullError(
                "The feed holds all the messages it may; nothing was routed.", retry_after=5
            )
        case Outcome.BUSY:
            return UnavailableError(
                "Too many large fan-outs are under way; nothing was routed.", retry_after=1
            )
        case Outcome.ONCE_DIFFERS:
            return key_reused()
        case Outcome.BAD_ADDRESS:
            return BadRequestError(
                "An address has more words than the feed matches by; nothing was routed."
            )
        case Outcome.TOO_DEAR:
            return TooLargeError(
                "So many joins begin as a message of the request does that it cannot be matched "
                "at once; nothing was routed. Post fewer or other messages."
            )
        case Outcome.TOO_MANY:
            return TooLargeError(
                f"The request comes to more than {deliveries} deliveries; nothing was routed. "
                "Post fewer messages at once."
            )
        case _:
            return NotFoundError("There is no such feed.")
