"""The messages of a pipe as they come, for whoever sends them on: one reader, one place."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from restms_cluster import pipes
from restms_cluster.errors import RestMSError
from restms_cluster.inbox import Delivered, Inbox
from restms_cluster.names import Token
from restms_cluster.readers import Pull
from restms_node.exchange import Request
from restms_node.gate import left
from restms_node.node import Node
from restms_node.waiting import GONE, Place, outcome_of

T = TypeVar("T")

_UNTRACED = nullcontext()

MOST = 256
ROOM = 256 * 1024  # bytes: what a stream has in memory at a time, but for one larger message


class Tail:
    """Reads a pipe from the oldest message after `after` on, inside `async with`.

    `request` is that of its reader, `kind` what the metrics call such a stream. It holds a place
    among the node's waits: entering raises DrainingError and UnavailableError. The next messages
    are read when they are asked for, so a slow reader holds up nobody else.
    """

    def __init__(
        self, node: Node, request: Request, pipe: Token, kind: str, *, after: int = 0
    ) -> None:
        self._node = node
        self._request = request
        self._pipe = pipe
        self._kind = kind
        self._place: Place | None = None
        self._inbox = Inbox(node.broker, pipe, after=after)
        self._open = AsyncExitStack()

    async def oldest(self) -> int | None:
        """Return the number of the oldest message that is not acknowledged, None without any."""
        inbox = Inbox(self._node.broker, self._pipe)
        found = await inbox.read(Pull.NOTHING, 1, 1)
        return int(found[0][0]) if found else None

    async def until(self, read: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return what `read` finds, read again as the pipe changes; else as `next`."""
        try:
            await self._node.check(self._request)
            seconds, good = self._node.settings.heartbeat_seconds, left(self._request.principal)
            found = await self._node.waits.next(pipes.hints(self._pipe), read, min(seconds, good))
            if found is None and good < seconds:
                raise self._node.lapsed()
            return found
        except RestMSError as error:
            if self._place is not None:
                self._place.outcome = outcome_of(error)
            raise

    async def next(self, most: int = MOST) -> list[Delivered] | None:
        """Return the next messages as soon as there are some; None when it is time for a heartbeat.

        Raises DrainingError when the node drains, NotFoundError when the pipe is deleted,
        LapsedError when the reader's credentials have ended.
        """
        most = min(most, MOST, self._node.settings.limits.messages_read)
        found = await self.until(partial(self._read, most))
        if found is not None:
            self._node.broker.counts.messages[self._pipe.domain].delivered += len(found)
        return found

    def delivered(self, found: Sequence[Delivered]) -> AbstractContextManager[object]:
        """Return what is to be entered while these messages are sent."""
        tracing = self._node.tracing
        if tracing is None:
            return _UNTRACED
        traced = tracing.delivering(self._request, self._pipe)
        traced.several(found)
        return traced

    async def _read(self, most: int) -> list[Delivered] | None:
        return await self._inbox.read(Pull.WAIT, most, ROOM) or None

    async def __aenter__(self) -> Self:
        """Take a place."""
        who = self._node.who(self._request)
        waits = self._node.waits
        self._place = self._open.enter_context(waits.place(who, self._pipe.domain, self._kind))
        self._place.outcome = GONE  # a stream has no end of its own
        await self._open.enter_async_context(self._inbox)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Leave it."""
        await self._open.__aexit__(kind, error, at)
