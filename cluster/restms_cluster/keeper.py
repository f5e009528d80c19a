"""Calls whose effect replicas are to have before they are answered.

Redis's WAIT holds up its connection until enough replicas have all that the connection wrote
last, and so all that anybody wrote before that. So such calls go over a connection of their own,
and together: while some are under way the next ones gather, and one WAIT does for all of them.
A call may find that it has nothing to write, since it is a repeat; what it repeats may have
been written over another connection. So each WAIT comes after a small write of its own.
"""

from collections.abc import Sequence

import trio
from redis.exceptions import ResponseError

from restms_cluster.connection import Connection
from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Argument, Reply, pack_arguments
from restms_cluster.pipeline import HEAVIEST, Head

WRITTEN_MILLISECONDS = 60_000  # how long the small write stays, for nothing


class Kept:
    """One call: its part of the answer, and whether enough replicas have what it did."""

    def __init__(self, head: Head, call: Sequence[Argument], weight: int) -> None:
        self.head = head
        self.call = call
        self.weight = weight
        self.reply: Reply | ResponseError = None
        self.kept = False
        self.error: StateUnavailableError | None = None
        self.done = trio.Event()


class Keeper:
    """Carries such calls. Start it with `await nursery.start(keeper.run)`."""

    def __init__(
        self, connection: Connection, written: str, *, replicas: int, seconds: float
    ) -> None:
        """`written` is the key of the small write; `seconds` is what replicas have time for.

        The connection is the keeper's alone; its time-out is more than those seconds.
        """
        self._connection = connection
        self._written = written
        self._replicas = replicas
        self._milliseconds = max(1, int(seconds * 1000))
        self._gathered: list[Kept] = []
        self._come = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and carry calls until cancelled. Raises StartError as a connection does."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._connection.run)
            task_status.started()
            while True:
                await self._come.wait()
                self._come = trio.Event()
                while self._gathered:
                    await self._carry(self._take())

    async def call(self, head: Head, call: Sequence[Argument], weight: int) -> Kept:
        """Make a call together with others of the same head, as Connection.call_grouped does.

        Raises StateUnavailableError when Redis cannot be asked; whether it was done is
        unknown then.
        """
        pack_arguments(*call)  # what cannot be packed must not harm the others
        kept = Kept(head, call, weight)
        self._gathered.append(kept)
        self._come.set()
        await kept.done.wait()
        if kept.error is not None:
            raise kept.error
        return kept

    def _take(self) -> list[list[Kept]]:
        """Take what has gathered, in order, as groups that are one command each."""
        groups: list[list[Kept]] = []
        open_groups: dict[Head, tuple[list[Kept], int]] = {}
        for one in self._gathered:
            group, weight = open_groups.get(one.head, ([], HEAVIEST))
            if weight + one.weight > HEAVIEST:
                group, weight = [], 0
                groups.append(group)
            group.append(one)
            open_groups[one.head] = group, weight + one.weight
        self._gathered = []
        return groups

    async def _carry(self, groups: list[list[Kept]]) -> None:
        commands: list[Sequence[Argument]] = [
            (*group[0].head, *(argument for one in group for argument in one.call))
            for group in groups
        ]
        commands.append(("SET", self._written, "", "PX", WRITTEN_MILLISECONDS))
        commands.append(("WAIT", self._replicas, self._milliseconds))
        try:
            *replies, written, count = await self._connection.call_many(commands)
        except StateUnavailableError as error:
            for group in groups:
                for one in group:
                    # Each caller gets an error of its own, for each adds its own traceback.
                    one.error = StateUnavailableError(error.text)
                    one.done.set()
            return
        enough = isinstance(count, int) and count >= self._replicas
        for group, reply in zip(groups, replies, strict=True):
            for place, one in enumerate(group):
                one.reply = reply[place] if isinstance(reply, list) else reply
                one.kept = enough and not isinstance(written, ResponseError)
                one.done.set()
