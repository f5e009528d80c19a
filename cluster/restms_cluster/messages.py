"""Messages: published to a feed, acknowledged by deleting them from a pipe."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from restms_cluster import blobs, contents, matching
from restms_cluster.broker import MILLISECONDS, Answer, Broker, required
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
from restms_cluster.levels import Level
from restms_cluster.model import (
    ALWAYS,
    Condition,
    Draft,
    Embedded,
    Header,
    Receipt,
    Routed,
    Sealed,
    Staged,
)
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.once import key_reused, once
from restms_cluster.scripts import Argument, Outcome
from restms_cluster.terms import PLAIN
from restms_cluster.transitions import MessageDelete, MessagePublish
from restms_cluster.transitions_content import ContentDelete, ContentStage


class _Alike(NamedTuple):
    """What the messages of a run have in common."""

    address: str
    contents: str
    headers: str
    terms: str


_Row: TypeAlias = tuple[_Alike, str, bytes]
"""What the script needs to know of a message: the last two are its message_id and its blob."""


async def publish(
    broker: Broker,
    feed: FeedName,
    drafts: Sequence[Draft | Sealed],
    key: str = "",
    carried: Sequence[Header] = (),
) -> Receipt:
    """Route messages, all of them or none, in one round trip.

    With a `key`, a repeated request routes nothing and has the first one's
    answer. Messages that have none of these names get the headers that are `carried`:
    for their readers, for nothing is routed by them, and a repeat may have others.

    Raises NotFoundError without the feed or a staged content; ForbiddenError for a
    content staged on another feed; FullError where all the
    pipes that want a message, or the feed that queues it, or the domain, are full;
    UnavailableError while too many large fan-outs are under way, or the feed's level
    cannot be kept; TooLargeError for more deliveries than a request may have, more bytes
    than the domain may, or messages that too many joins begin like; BadRequestError for an
    address of too many words; KeyReusedError for a key of another request. Nothing is routed
    then. Raises TooFewReplicasError where all is routed, but too few replicas have it as yet,
    and StateUnavailableError where it may or may not be routed.
    """
    level = broker.durability.of(feed)
    if Level.DISK in level:
        broker.shards.home(feed.domain).disk.check()
    steps: list[ContentStage] = []
    rows = _rows(broker, feed, drafts, steps)
    asked = _asked(key, drafts, rows)
    rows = _carrying(rows, drafts, carried)
    deliveries = broker.limits.deliveries_per_request
    publishing = MessagePublish(
        feed.domain,
        feed.key,
        broker.bounds,
        deliveries,
        broker.nonce(),
        asked,
        int(broker.limits.idempotency_seconds * MILLISECONDS),
        tuple(_runs(rows)),
        broker.most_bytes(feed.domain),
    )
    staged: Sequence[Answer] = ()
    if Level.REPLICAS in level:
        if steps:  # written before, so what holds of the messages holds of these
            staged = await broker.run_all(*steps)
        answer = await broker.run_kept(publishing)
    elif steps:
        *staged, answer = await broker.run_all(*steps, publishing)
    else:
        answer = await broker.run(publishing)
    if answer.outcome is not Outcome.OK:
        if steps:  # what was put aside for this request is of no use to another
            staged_here = [step.content for step in steps]
            await broker.run_all(
                *(ContentDelete(feed.domain, content, "", "") for content in staged_here)
            )
        if Outcome.NO_ROOM in (answer.outcome, *(one.outcome for one in staged)):
            size = sum(len(blob) for *_, blob in rows) + sum(step.size for step in steps)
            raise broker.no_room(feed.domain, size, "nothing was routed")
        raise _refusal(answer.outcome, deliveries)
    if Level.DISK in level:
        broker.shards.home(feed.domain).disk.check_done()
    counted, *told = answer.values
    routed: list[Routed] = []
    counts = broker.counts.messages[feed.domain]
    for messages, count, full in zip(told[::3], told[1::3], told[2::3], strict=True):
        routed += [Routed(count, full)] * messages
        counts.received += messages
        counts.routed += messages * count
    return Receipt(counted == 1, tuple(routed), level)


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
        broker.counts.messages[token.domain].acknowledged += answer.values[0]
        if answer.outcome is not Outcome.MORE:
            return


def _rows(
    broker: Broker, feed: FeedName, drafts: Sequence[Draft | Sealed], steps: list[ContentStage]
) -> list[_Row]:
    rows: list[_Row] = []
    alike = _Alike("", "", "", "")
    for draft in drafts:
        if isinstance(draft, Sealed):
            address, message_id, blob = draft
            if address != alike.address:
                alike = _Alike(address, "", "", "")
            rows.append((alike, message_id, blob))
        else:
            rows.append(_row(broker, feed, draft, steps))
    return rows


def _row(broker: Broker, feed: FeedName, draft: Draft, steps: list[ContentStage]) -> _Row:
    contents, most = "", broker.limits.embed_bytes
    for content in draft.contents:
        if isinstance(content, Staged) or content.size > most:
            kept = tuple([_apart(broker, feed, content, steps) for content in draft.contents])
            contents = " ".join([_secret(feed, content) for content in kept])
            draft = Draft(draft.properties, draft.headers, kept, draft.terms)
            break
    headers = matching.carried(draft.headers) if draft.headers else ""
    terms = "" if draft.terms is PLAIN else str(draft.terms)
    alike = _Alike(draft.address, contents, headers, terms)
    return alike, draft.properties.get("message_id", ""), blobs.pack(draft)


def _carrying(
    rows: list[_Row], drafts: Sequence[Draft | Sealed], carried: Sequence[Header]
) -> list[_Row]:
    """Return the rows, with the headers in the blobs of those messages that are to have them."""
    if not carried:
        return rows
    names = {header.name for header in carried}
    more: list[_Row] = []
    for draft, (alike, message_id, blob) in zip(drafts, rows, strict=True):
        own = () if isinstance(draft, Sealed) else draft.headers
        if names.isdisjoint(header.name.lower() for header in own):
            longer = blobs.carrying(blob, carried, after_others=bool(own))
            more.append((alike, message_id, longer))
        else:
            more.append((alike, message_id, blob))
    return more


def _runs(rows: Iterable[_Row]) -> Iterator[Argument]:
    """Yield the arguments of each run of messages that are alike."""
    for alike, group in groupby(rows, itemgetter(0)):
        run = list(group)
        yield from alike
        if len(run) == 1:
            yield run[0][1]
        else:
            ids = [message_id for _, message_id, _ in run]
            yield json.dumps(ids) if any(ids) else ""
        yield len(run)
        for _, _, blob in run:
            yield blob


def _apart(
    broker: Broker, feed: FeedName, content: Embedded | Staged, steps: list[ContentStage]
) -> Embedded | Staged:
    """Stage an embedded content that is too large for a blob, ahead of its message."""
    if isinstance(content, Staged) or content.size <= broker.limits.embed_bytes:
        return content
    token = Token.new(Kind.CONTENT, feed.domain)
    steps.append(contents.staging(broker, feed, token, content.type, content.data))
    return Staged(token)


def _asked(key: str, drafts: Sequence[Draft | Sealed], rows: Sequence[_Row]) -> str:
    if not key:
        return ""
    parts: list[bytes] = []
    for draft, (alike, message_id, blob) in zip(drafts, rows, strict=True):
        texts = (alike.address, message_id, alike.headers, alike.terms)
        parts += (text.encode() for text in texts)
        parts.append(blob)
        if isinstance(draft, Sealed):
            continue
        # A content that is put aside anew for a repeat has another name: its bytes count.
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
