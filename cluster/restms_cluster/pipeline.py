"""Commands of many tasks over one link, their answers matched in order.

Redis answers in the order in which it was asked. So every request joins a
queue in the same step that posts its bytes, and every reply belongs to the
queue's head. A caller that is cancelled leaves its place in the queue behind,
and only the answer is dropped: this is what keeps the others' answers right.

Calls that join() makes in one turn of the loop with the same head travel as
one command: what a script costs before it does anything is paid once for all
of them. Nobody waits for a group to fill; but while two groups of the same head
are under way, what comes gathers in the next one. So where many nodes keep
Redis busy, each sends fewer and larger groups, and the whole of them can do
as much as a few; and where Redis has time, hardly ever two are under way.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import trio

from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import (
    Answer,
    Argument,
    DemotedError,
    Link,
    LostError,
    pack_arguments,
    pack_count,
    until_lost,
)

BYTES_A_MESSAGE = 2048  # beyond that, bytes are what weighs
HEAVIEST = 1000  # what a group may weigh before it goes: a script must not stall Redis
ENOUGH = 100  # from here on to gather more saves next to nothing, and the group goes
UNDER_WAY = 2  # groups of one head: Redis has the next one when it is done with one

Head: TypeAlias = tuple[Argument, ...]


class _Request:
    """One caller's commands: how many answers they get, and who waits for them."""

    __slots__ = ("answers", "count", "error", "since", "task")

    def __init__(self, count: int) -> None:
        self.count = count
        self.answers: list[Answer] = []
        self.error: StateUnavailableError | None = None
        self.since = trio.current_time()
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    def abandon(self, _: Any) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def finish(self) -> None:
        if self.task is not None:
            trio.lowlevel.reschedule(self.task)
            self.task = None


class _Group:
    """The calls of several callers in one command, whose answer has a part for each."""

    __slots__ = (
        "_length",
        "_open",
        "_pieces",
        "answers",
        "count",
        "error",
        "head",
        "posted",
        "since",
        "tasks",
        "weight",
    )

    def __init__(self, head: Head, groups: "dict[Head, _Group]") -> None:
        self.head = head
        self.weight = 0
        self.posted = False
        self.count = 1
        self.answers: list[Answer] = []
        self.error: StateUnavailableError | None = None
        self.since = trio.current_time()
        self.tasks: list[trio.lowlevel.Task | None] = []
        self._length = len(head)
        self._pieces = [pack_arguments(*head)]
        self._open = groups
        groups[head] = self

    def add(self, packed: bytes, length: int, weight: int) -> int:
        """Take one more call in, of so many arguments; return its place among the answers."""
        self.weight += weight
        self._length += length
        self._pieces.append(packed)
        self.tasks.append(trio.lowlevel.current_task())
        return len(self.tasks) - 1

    def packed(self) -> bytes:
        if self._open.get(self.head) is self:
            del self._open[self.head]
        return pack_count(self._length) + b"".join(self._pieces)

    def abandon(self, place: int, _: Any) -> trio.lowlevel.Abort:
        self.tasks[place] = None
        return trio.lowlevel.Abort.SUCCEEDED

    def finish(self) -> None:
        for task in self.tasks:
            if task is not None:
                trio.lowlevel.reschedule(task)

    def part(self, place: int) -> Answer:
        """Return one call's answer, or the error that all of them got."""
        answer = self.answers[0]
        return answer[place] if isinstance(answer, list) else answer


class Pipeline:
    """The requests on one link. It lives as long as the link does."""

    def __init__(self, link: Link, timeout: float) -> None:
        """`timeout` is how many seconds an answer may take."""
        self._link = link
        self._timeout = timeout
        self._waiting: deque[_Request | _Group] = deque()
        self._groups: dict[Head, _Group] = {}
        self._left = trio.Event()
        self._under_way: dict[Head, int] = {}

    async def request(self, data: bytes, count: int) -> list[Answer]:
        """Send `count` packed commands at once; return their answers.

        Raises LostError when the link is lost first, and
        StateUnavailableError when Redis stalls.
        """
        request = _Request(count)
        self._waiting.append(request)
        self._link.post(data)
        await trio.lowlevel.wait_task_rescheduled(request.abandon)
        if request.error is not None:
            raise request.error
        return request.answers

    async def join(self, head: Head, call: Sequence[Argument], weight: int) -> Answer:
        """Make a call, together with those that others make now with the same head.

        The command is the head and then all calls; its answer is a list with
        a part for each. Raises as `request` does.
        """
        packed = pack_arguments(*call)  # what cannot be packed must not harm the others
        weight += len(packed) // BYTES_A_MESSAGE
        group = self._groups.get(head)
        if group is None or group.weight + weight > HEAVIEST:
            if group is not None:
                self._post(group)
            group = _Group(head, self._groups)
        place = group.add(packed, len(call), weight)
        if group.weight >= ENOUGH or self._under_way.get(head, 0) < UNDER_WAY:
            self._post(group)
        await trio.lowlevel.wait_task_rescheduled(partial(group.abandon, place))
        if group.error is not None:
            # Each caller gets an error of its own, for each adds its own traceback.
            raise type(group.error)(group.error.text)
        return group.part(place)

    async def run(self) -> StateUnavailableError:
        """Carry requests and answers until the link is of no more use; return why."""
        return await until_lost(self._link.write_posted, self._read, self._watch, self._until_left)

    def leave(self) -> None:
        """Give the link up, though it is well."""
        self._left.set()

    def fail(self, cause: StateUnavailableError) -> None:
        """End all requests that have no answer yet."""
        held = [group for group in self._groups.values() if not group.posted]
        for request in (*self._waiting, *held):
            # Each caller gets an error of its own, for each adds its own traceback.
            kind = LostError if isinstance(cause, LostError) else StateUnavailableError
            request.error = kind(cause.text)
            request.finish()
        self._waiting.clear()
        self._groups.clear()

    def _post(self, group: _Group) -> None:
        """Have a group go, with what is added until it is written."""
        if not group.posted:
            group.posted = True
            self._under_way[group.head] = self._under_way.get(group.head, 0) + 1
            self._waiting.append(group)
            self._link.post(group)

    def _arrived(self, group: _Group) -> None:
        """Have the next group of the same head go: one less is under way."""
        head = group.head
        left = self._under_way[head] - 1
        if left:
            self._under_way[head] = left
        else:
            del self._under_way[head]
        following = self._groups.get(head)
        if following is not None:
            self._post(following)

    async def _read(self) -> None:
        waiting = self._waiting
        while True:
            demoted = None
            for answer in await self._link.receive():
                if not waiting:
                    raise LostError("Redis sent an answer that nobody had asked for.")
                request = waiting[0]
                request.answers.append(answer)
                if len(request.answers) == request.count:
                    waiting.popleft()
                    request.finish()
                    if type(request) is _Group:
                        self._arrived(request)
                if isinstance(answer, DemotedError):
                    demoted = answer
            if demoted is not None:
                raise LostError(demoted.text)

    async def _until_left(self) -> None:
        await self._left.wait()
        raise LostError("The link to Redis was given up.")

    async def _watch(self) -> None:
        """Raise when the oldest request has waited too long: one timer serves all."""
        while True:
            now = trio.current_time()
            due = (self._waiting[0].since if self._waiting else now) + self._timeout
            if due <= now:
                raise StateUnavailableError("Redis did not answer in time.")
            await trio.sleep_until(due)
