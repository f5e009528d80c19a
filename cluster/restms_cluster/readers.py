"""Reading messages, and waiting for those that have not come yet."""

import logging
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

import trio

from restms_cluster import blobs
from restms_cluster.broker import Answer, Broker
from restms_cluster.errors import NotFoundError, RestMSError
from restms_cluster.model import Embedded, Header, Message, Packed, Stored
from restms_cluster.names import Token
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import MessagePull, MessageRead, PipeLeave

LEAVE_SECONDS = 1.0

_log = logging.getLogger("restms.readers")


class Pull(Enum):
    """What reading the next message does in a pipe that takes its messages itself."""

    NOTHING = auto()
    TAKE = auto()
    WAIT = auto()  # take one, or be called when there is one


async def read(
    broker: Broker, token: Token, *, packed: bool = False, pull: Pull = Pull.TAKE
) -> Message | Packed | None:
    """Return a message, or None where it is the next that will come.

    `packed` asks for the stored form, where that says all; `pull` tells what an
    ondemand pipe does that has none. Raises NotFoundError where the message
    was acknowledged, has expired, or cannot come next.
    """
    return await Reader(broker, token, packed=packed).read(pull)


class Called:
    """Who may be called for an ondemand pipe's next message, inside `async with`.

    Afterwards it is called no more, or others would wait for this reader.
    """

    def __init__(self, broker: Broker, pipe: Token) -> None:
        self._broker = broker
        self._pipe = pipe
        self._listed = False

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
                leaving = PipeLeave(self._pipe.domain, self._pipe.secret, self._broker.bounds)
                await self._broker.run(leaving)
            except RestMSError as refusal:
                # Whoever looks for what is due passes over it within a second or so.
                _log.warning("a reader who went is still called: %s", refusal)


class Reader(Called):
    """A reader who may wait for a message, inside `async with`.

    While it waits, an ondemand pipe is called when there is a message for it.
    """

    def __init__(self, broker: Broker, token: Token, *, packed: bool = False) -> None:
        super().__init__(broker, token.pipe())
        self._token = token
        self._packed = packed

    async def read(self, pull: Pull) -> Message | Packed | None:
        """Return the message, or None where it is the next that will come.

        Raises NotFoundError as `read` does.
        """
        broker, token = self._broker, self._token
        number, embed = token.number or 0, broker.limits.embed_bytes
        answer = await broker.run(
            MessageRead(token.domain, token.secret, number, embed, broker.idle)
        )
        if answer.outcome is Outcome.NEXT and answer.values[0] and pull is not Pull.NOTHING:
            # From here on, even where this is cancelled before the answer comes.
            self._listed = waits = pull is Pull.WAIT
            answer = await broker.run(
                MessagePull(token.domain, token.secret, number, embed, int(waits), broker.bounds)
            )
        if answer.outcome is Outcome.NEXT:
            return None
        self._listed = False
        return _found(broker, token, answer, packed=self._packed)


def _found(broker: Broker, token: Token, answer: Answer, *, packed: bool) -> Message | Packed:
    if answer.outcome is not Outcome.OK:
        raise NotFoundError("There is no such message.")
    blob = packed_blob(broker, answer.values) if packed else None
    if blob is not None:
        return Packed(token, int(answer.values[0].partition(b"-")[2]), blob)
    return message_from(broker, token, answer.values)


def packed_blob(broker: Broker, values: Sequence[Any]) -> bytes | None:
    """Return a message's stored form, of what a script tells of it; None where more is to be said.

    `values`: entry, blob, contents stored apart, contents taken out, how often it
    came back, why it is a dead letter.
    """
    blob: bytes
    _, blob, parts, dropped, redelivered, death = values
    plain = redelivered == b"0" and not (death or parts or dropped)
    return blob if plain and len(blob) <= broker.limits.embed_bytes else None


def message_from(broker: Broker, token: Token, values: Sequence[Any]) -> Message:
    """Make a message of what a script tells of it, the same as for `packed_blob`."""
    embed = broker.limits.embed_bytes
    entry, blob, parts, dropped, redelivered, death = values
    # Each content that was taken out is a change of the message.
    version = int(entry.partition(b"-")[2]) + len(dropped)
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


def _death_headers(death: str) -> Iterator[Header]:
    """Yield the headers that tell why a message is a dead letter, and of which feed."""
    if death:
        reason, count, feed = death.split(" ")
        yield Header("x-death-reason", reason)
        yield Header("x-death-count", count)
        if not feed.startswith("~"):  # or its secret would be given away
            yield Header("x-death-feed", feed)


def _stored(part: Sequence[Any], token: Token) -> Embedded | Stored:
    kind, size, _, data = part
    if data is None:
        return Stored(token, kind.decode(), int(size))
    return Embedded(kind.decode(), data)


def _within(content: Embedded, token: Token, embed: int) -> Embedded | Stored:
    size = content.size
    return content if size <= embed else Stored(token, content.type, size)
