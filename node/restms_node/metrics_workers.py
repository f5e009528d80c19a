"""The metrics of several workers as those of one node: whichever is asked answers for all.

Each worker has a channel to the parent, a pair of sockets. Who is asked for metrics asks the
parent, who asks the others, adds up what all say, and what those said last that have ended.
Whatever was told once was told by way of the parent, so no counter falls when a worker ends,
however it does.

A line is a letter, a number and a snapshot. Of the parent: `r` asks for a report; `j` has what all
come to, under the number of the question. Of a worker: `r` is a report, `q` one with a question.
"""

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import trio

from restms_cluster.errors import UnavailableError
from restms_node.metrics_snapshot import Snapshot, joined, lasting, packed, unpacked

REPORT_SECONDS = 2.0  # at most so much of what a worker counted is lost when it is killed
OTHERS_SECONDS = 0.5  # for a worker to say what it has; then what it said last counts
PARENT_SECONDS = 3.0
PIECE_BYTES = 64 * 1024

REPORT, QUESTION, JOINED = b"r", b"q", b"j"
LOST = (trio.BrokenResourceError, trio.ClosedResourceError)


class _Line:
    """One end of a channel."""

    def __init__(self, end: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(end))
        self._sending = trio.Lock()

    async def send(self, letter: bytes, number: int, snapshot: Snapshot) -> None:
        """Send a line. Raises one of LOST where the other end is gone."""
        async with self._sending:
            await self._stream.send_all(b"%b%d %b" % (letter, number, packed(snapshot)))

    async def lines(self) -> AsyncGenerator[tuple[bytes, int, Snapshot], None]:
        """Yield the lines that come, until the other end is gone."""
        come = bytearray()
        while True:
            try:
                some = await self._stream.receive_some(PIECE_BYTES)
            except LOST:
                return
            if not some:
                return
            come += some
            while (end := come.find(b"\n")) >= 0:
                head, _, snapshot = bytes(come[:end]).partition(b" ")
                del come[: end + 1]
                yield head[:1], int(head[1:]), unpacked(snapshot)

    def close(self) -> None:
        """Close it."""
        self._stream.socket.close()


class Channel:
    """A worker's way to the parent. Start it with `await nursery.start(channel.run, take)`."""

    def __init__(self, end: socket.socket) -> None:
        self._line = _Line(end)
        self._take: Callable[[], Snapshot] = dict
        self._asking = trio.Lock()
        self._asked = 0
        self._answer: Snapshot = {}
        self._answered = trio.Event()

    async def run(
        self,
        take: Callable[[], Snapshot],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Report what `take` returns, now and then and whenever the parent asks."""
        self._take = take
        task_status.started()
        try:
            async with trio.open_nursery() as nursery, aclosing(self._line.lines()) as lines:
                nursery.start_soon(self._report_now_and_then)
                async for letter, number, snapshot in lines:
                    if letter == REPORT:
                        await self._line.send(REPORT, 0, take())
                    elif number == self._asked:
                        self._answer = snapshot
                        self._answered.set()
                nursery.cancel_scope.cancel()
        except* LOST:
            pass  # the parent is gone, and so is this worker in a moment

    async def gathered(self) -> Snapshot:
        """Return what all workers come to. Raises UnavailableError where that cannot be had."""
        async with self._asking:
            self._asked += 1
            self._answered = trio.Event()
            with trio.move_on_after(PARENT_SECONDS):
                with suppress(*LOST):
                    await self._line.send(QUESTION, self._asked, self._take())
                    await self._answered.wait()
                    return self._answer
        raise UnavailableError("What the other workers count cannot be had now.")

    async def report(self) -> None:
        """Say for the last time what this worker has counted."""
        with trio.move_on_after(OTHERS_SECONDS, shield=True):
            with suppress(*LOST):
                await self._line.send(REPORT, 0, self._take())

    async def _report_now_and_then(self) -> None:
        while True:
            await trio.sleep(REPORT_SECONDS)
            await self._line.send(REPORT, 0, self._take())


class _Member:
    """A worker as the parent sees it: its channel, and what it said last."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        self.said: Snapshot = {}
        self.spoke = trio.Event()

    async def ask(self) -> None:
        """Have it say what it has counted, if it does so in time."""
        self.spoke = trio.Event()
        with trio.move_on_after(OTHERS_SECONDS):
            try:
                await self.line.send(REPORT, 0, {})
            except LOST:
                return
            await self.spoke.wait()


class Hub:
    """The parent's side: what all workers have counted, those too that have ended."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """Begin; the nursery is for tasks that listen to workers."""
        self._nursery = nursery
        self._past: Snapshot = {}
        self._members: set[_Member] = set()
        self._gathering = trio.Lock()

    def attend(self, end: socket.socket) -> None:
        """Listen to one more worker, until its end of the channel is closed."""
        self._nursery.start_soon(self._listen, _Member(_Line(end)))

    async def gathered(self, asking: _Member | None = None) -> Snapshot:
        """Return what all come to; who asks has just spoken."""
        async with self._gathering:
            async with trio.open_nursery() as nursery:
                for member in self._members:
                    if member is not asking:
                        nursery.start_soon(member.ask)
            return joined((self._past, *(member.said for member in self._members)))

    async def _listen(self, member: _Member) -> None:
        self._members.add(member)
        try:
            async with trio.open_nursery() as nursery, aclosing(member.line.lines()) as lines:
                async for letter, number, snapshot in lines:
                    member.said = snapshot
                    member.spoke.set()
                    if letter == QUESTION:
                        nursery.start_soon(self._answer, member, number)
                nursery.cancel_scope.cancel()
        finally:
            self._members.discard(member)
            self._past = joined((self._past, lasting(member.said)))
            member.line.close()

    async def _answer(self, member: _Member, number: int) -> None:
        with suppress(*LOST):
            await member.line.send(JOINED, number, await self.gathered(member))
