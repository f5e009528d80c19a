"""Calls whose effect replicas are to have before they are answered.

Redis's WAIT holds up its connection until enough replicas have all that the connection wrote
last, and so all that anybody wrote before that. So such calls go over a connection of their own,
and together: while some are under way the next ones gather, and one WAIT does for all of them.
A call may find that it has nothing to write, since it is a repeat; what it repeats may have
been written over another connection. So each WAIT comes after a small write of its own.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio
from redis.exceptions import ResponseError

from restms_cluster.calls import Calls
from restms_cluster.errors import StateUnavailableError
from restms_cluster.keys import written_key
from restms_cluster.link import LOST, Argument, LostError, Reply, UndoneError, pack_arguments
from restms_cluster.pipeline import HEAVIEST, Head

KEEPING = "keeping"  # what the connection is for
GONE = "This Redis is of no more use."
WRITTEN_MILLISECONDS = 60_000  # how long the small write stays, for nothing


@dataclass(frozen=True, slots=True)
class Kept:
    """One call's part of the answer, and whether enough replicas have what it did."""

    reply: Reply | ResponseError
    enough: bool


class _Call:
    """A call that waits to be carried, or for its answer."""

    __slots__ = ("answer", "call", "domain", "done", "head", "weight")

    def __init__(self, domain: str, head: Head, call: Sequence[Argument], weight: int) -> None:
        self.domain = domain
        self.head = head
        self.call = call
        self.weight = weight
        self.answer: Kept | StateUnavailableError | None = None
        self.done = trio.Event()

    def finish(self, answer: Kept | StateUnavailableError) -> None:
        self.answer = answer
        self.done.set()


class Keeper:
    """Carries such calls to one primary, together, for as long as `run` runs."""

    def __init__(self, *, replicas: int = 1, seconds: float = 1.0) -> None:
        """So many replicas are to have what was written, within so many seconds."""
        self._replicas = replicas
        self._milliseconds = max(1, int(seconds * 1000))
        self._gathered: list[_Call] = []
        self._carried: list[list[_Call]] = []
        self._come = trio.Event()
        self._ended = False

    async def call(self, domain: str, head: Head, call: Sequence[Argument], weight: int) -> Kept:
        """Make a call together with others of the same head, as Connection.call_grouped does.

        Raises StateUnavailableError when Redis cannot be asked: whether it was done is
        unknown then, unless it is an UndoneError.
        """
        if self._ended:
            raise UndoneError(GONE)
        pack_arguments(*call)  # what cannot be packed must not harm the others
        one = _Call(domain, head, call, weight)
        self._gathered.append(one)
        self._come.set()
        await one.done.wait()
        if isinstance(one.answer, Kept):
            return one.answer
        raise one.answer or LostError()

    async def run(self, open_connection: Callable[[], Awaitable[Calls]]) -> None:
        """Carry calls until cancelled, over a connection that is opened when the first ones come.

        Nobody else may use it.
        """
        try:
            while True:
                await self._come.wait()
                self._come = trio.Event()
                while self._gathered:
                    self._carried = self._take()
                    try:
                        await self._carry(await open_connection())
                    except StateUnavailableError as error:
                        self._fail(type(error), error.text)
        finally:
            self._ended = True
            self._fail(LostError, LOST)
            self._carried = self._take()
            self._fail(UndoneError, GONE)

    def _take(self) -> list[list[_Call]]:
        """Take what has gathered, in order, as groups that are one command each."""
        groups: list[list[_Call]] = []
        latest: dict[Head, tuple[list[_Call], int]] = {}
        for one in self._gathered:
            group, weight = latest.get(one.head, ([], HEAVIEST))
            if weight + one.weight > HEAVIEST:
                group, weight = [], 0
                groups.append(group)
            group.append(one)
            latest[one.head] = group, weight + one.weight
        self._gathered = []
        return groups

    async def _carry(self, calls: Calls) -> None:
        commands: list[Sequence[Argument]] = [
            (*group[0].head, *(argument for one in group for argument in one.call))
            for group in self._carried
        ]
        written = written_key(self._carried[-1][-1].domain)
        commands.append(("SET", written, "", "PX", WRITTEN_MILLISECONDS))
        commands.append(("WAIT", self._replicas, self._milliseconds))
        *replies, wrote, count = await calls.call_many(commands)
        enough = (
            isinstance(count, int)
            and count >= self._replicas
            and not isinstance(wrote, ResponseError)
        )
        for group, reply in zip(self._carried, replies, strict=True):
            for place, one in enumerate(group):
                part = reply[place] if isinstance(reply, list) else reply
                one.finish(Kept(part, enough))
        self._carried = []

    def _fail(self, kind: type[StateUnavailableError], text: str) -> None:
        for group in self._carried:
            for one in group:
                # Each caller gets an error of its own, for each adds its own traceback.
                one.finish(kind(text))
        self._carried = []
