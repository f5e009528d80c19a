"""Messages: published to a feed, read from a pipe, acknowledged by deleting them."""

import logging
import secrets
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

import trio

from restms_cluster import blobs, contents, matching
from restms_cluster.broker import MILLISECONDS, Answer, Broker, required
from restms_cluster.errors import (
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
    Header,
    Message,
    Packed,
    Receipt,
    Routed,
    Staged,
    Stored,
)
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.once import key_reused, once
from restms_cluster.scripts import Argument, Outcome
from restms_cluster.transitions import (
    ContentDelete,
    ContentStage,
    MessageDelete,
    MessagePublish,
    MessagePull,
    MessageRead,
    PipeLeave,
)

LEAVE_SECONDS = 1.0
CONTENTS = 3  # the place of a message's contents among its arguments


_log = logging.getLogger("restms.messages")


class Pull(Enum):
    """What reading the next message does in a pipe that takes its messages itself."""

    NOTHING = auto()
    TAKE = auto()
    WAIT = auto()  # take one, or be called when there is one


async def publish(
    broker: Broker, feed: FeedName, drafts: Sequence[Draft], key: str = ""
) -> Receipt:
    """Route messages, all of them or none, in one round trip.

    With a `key`, a repeated request routes nothing and has the first one's
    answer. Raises NotFoundError without the feed or a staged content;
    ForbiddenError for a content staged on another feed; FullError where all the
    pipes that want a message, or the feed that queues it, are full;
    UnavailableError while too many large fan-outs are under way; TooLargeError
    for more deliveries than a request may have; KeyReusedError for a key of
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
            str(draft.terms),
        )
    deliveries = broker.limits.deliveries_per_request
    publishing = MessagePublish(
        feed.domain,
        feed.key,
        broker.bounds,
        deliveries,
        secrets.token_hex(8),
        _asked(key, arguments),
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


async def read(
    broker: Broker, token: Token, *, packed: bool = False, pull: Pull = Pull.TAKE
) -> Message | Packed | None:
    """Return a message, or None where it is the next that will come.

    `packed` asks for the stored form, where that says all; `pull` tells what an
    ondemand pipe does that has none. Raises NotFoundError where the message
    was acknowledged, has expired, or cannot come next.
    """
    answer = await _ask(broker, token, pull)
    if answer.outcome is Outcome.NEXT:
        return None
    return _found(broker, token, answer, packed=packed)


class Reader:
    """A reader who may wait for a message, inside `async with`.

    While it waits, an ondemand pipe is called when there is a message for it.
    Afterwards it is called no more, or others would wait for this reader.
    """

    def __init__(self, broker: Broker, token: Token, *, packed: bool = False) -> None:
        self._broker = broker
        self._token = token
        self._packed = packed
        self._listed = False

    async def read(self, pull: Pull) -> Message | Packed | None:
        """Do as `read` does."""
        answer = await _ask(self._broker, self._token, pull)
        if answer.outcome is Outcome.NEXT:
            self._listed = pull is Pull.WAIT and answer.values[0] == 1
            return None
        self._listed = False
        return _found(self._broker, self._token, answer, packed=self._packed)

    async def __aenter__(self) -> Self:
        """Return the reader."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Take the pipe off the list of those to be called."""
        if not self._listed:
            return
        with trio.move_on_after(LEAVE_SECONDS, shield=True):
            try:
                leaving = PipeLeave(self._token.domain, self._token.secret, self._broker.bounds)
                await self._broker.run(leaving)
            except RestMSError as refusal:
                # Whoever looks for what is due passes over it within a second or so.
                _log.warning("a reader who went is still called: %s", refusal)


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


async def _ask(broker: Broker, token: Token, pull: Pull) -> Answer:
    number, embed = token.number or 0, broker.limits.embed_bytes
    reading = MessageRead(token.domain, token.secret, number, embed, broker.idle)
    answer = await broker.run(reading)
    if answer.outcome is Outcome.NEXT and answer.values[0] and pull is not Pull.NOTHING:
        waits = int(pull is Pull.WAIT)
        pulling = MessagePull(token.domain, token.secret, number, embed, waits, broker.bounds)
        return await broker.run(pulling)
    return answer


def _found(broker: Broker, token: Token, answer: Answer, *, packed: bool) -> Message | Packed:
    if answer.outcome is not Outcome.OK:
        raise NotFoundError("There is no such message.")
    embed = broker.limits.embed_bytes
    entry, blob, parts, dropped, redelivered, death = answer.values
    plain = redelivered == b"0" and not death
    # Each content that was taken out is a change of the message.
    version = int(entry.partition(b"-")[2]) + len(dropped)
    if packed and plain and not parts and not dropped and len(blob) <= embed:
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
    return Message(
        token,
        version,
        properties,
        (*headers, *_death_headers(death.decode())),
        tuple(delivered),
        redelivered != b"0",
    )


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


def _asked(key: str, arguments: Sequence[Argument]) -> str:
    # What is staged anew for a repeated request has other names: they do not count.
    fields = [argument for place, argument in enumerate(arguments) if place % 6 != CONTENTS]
    parts = (part if isinstance(part, bytes) else str(part).encode() for part in fields)
    return once(key, "messages", parts=parts)


def _death_headers(death: str) -> Iterator[Header]:
    """Yield the headers that tell why a message is a dead letter, and of which feed."""
    if death:
        reason, count, feed = death.split(" ")
        yield Header("x-death-reason", reason)
        yield Header("x-death-count", count)
        if not feed.startswith("~"):  # or its secret would be given away
            yield Header("x-death-feed", feed)


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
        case Outcome.TOO_MANY:
            return TooLargeError(
                f"The request comes to more than {deliveries} deliveries; nothing was routed. "
                "Post fewer messages at once."
            )
        case _:
            return NotFoundError("There is no such feed.")
