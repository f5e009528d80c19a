"""Reading a pipe's messages in volume: many at once, and on from there as more come."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from restms_cluster.broker import Answer, Broker
from restms_cluster.errors import NotFoundError
from restms_cluster.model import Message
from restms_cluster.names import Token
from restms_cluster.readers import Called, Pull, message_from, packed_blob
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import MessagePull, MessagesRead

Delivered: TypeAlias = tuple[bytes, bytes | Message]
"""A message in its pipe: the digits of its number, and its stored form, the CBOR of its element.

Where the stored form does not say all, it is what the message says.
"""


class Inbox(Called):
    """Reads a pipe's messages in order, each once, inside `async with`.

    The first read begins after the message numbered `after`; each goes on where the
    one before has ended.
    """

    def __init__(self, broker: Broker, pipe: Token, *, after: int = 0) -> None:
        super().__init__(broker, pipe)
        self._after = after

    async def read(self, pull: Pull, most: int, room: int) -> list[Delivered]:
        """Return the next messages, none where there are none yet.

        At most `most` of them, and of `room` bytes, but one at least. An ondemand pipe
        has one at most; `pull` tells what it does where it has none. Raises
        NotFoundError without the pipe.
        """
        broker, pipe, embed = self._broker, self._pipe, self._broker.limits.embed_bytes
        while True:
            answer = await broker.run(
                MessagesRead(pipe.domain, pipe.secret, self._after, most, room, embed, broker.idle)
            )
            match answer.outcome:
                case Outcome.OK:
                    self._listed = False
                    self._after = int(answer.values[0])
                    return self._found(answer.values[1])
                case Outcome.MORE:
                    self._after = int(answer.values[0])
                case Outcome.NEXT:
                    self._after = int(answer.values[0])
                    if not answer.values[1] or pull is Pull.NOTHING:
                        return []
                    pulled = await self._pull(pull)
                    # Another reader of this pipe may have taken that one: then look again.
                    if pulled.outcome is not Outcome.MISSING:
                        return self._taken(pulled)
                case _:
                    raise NotFoundError("There is no such pipe.")

    async def _pull(self, pull: Pull) -> Answer:
        broker, pipe = self._broker, self._pipe
        # From here on, even where this is cancelled before the answer comes.
        self._listed = waits = pull is Pull.WAIT
        number, embed = self._after + 1, broker.limits.embed_bytes
        return await broker.run(
            MessagePull(pipe.domain, pipe.secret, number, embed, int(waits), broker.bounds)
        )

    def _taken(self, answer: Answer) -> list[Delivered]:
        if answer.outcome is Outcome.NEXT:
            return []
        self._listed = False
        self._after += 1
        return self._found([answer.values[0], [b"ok", *answer.values]])

    def _found(self, told: Sequence[Any]) -> list[Delivered]:
        """Make messages of what the script tells: entry and blob, or entry and its whole reply."""
        most = self._broker.limits.embed_bytes
        found: list[Delivered] = []
        for entry, blob in zip(told[::2], told[1::2], strict=True):
            number = entry[: entry.index(b"-")]
            if type(blob) is bytes and len(blob) <= most:
                found.append((number, blob))
            else:
                values = blob[1:] if type(blob) is list else [entry, blob, (), (), b"0", b""]
                found.append((number, self._message(number, values)))
        return found

    def _message(self, number: bytes, values: Sequence[Any]) -> bytes | Message:
        blob = packed_blob(self._broker, values)
        if blob is not None:
            return blob
        return message_from(self._broker, self._pipe.message(int(number)), values)
