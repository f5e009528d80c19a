"""A primary as one node sees it: its connections, its hints, and the domains that live there."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import TypeAlias

import trio

from restms_cluster.address import Address
from restms_cluster.calls import Calls
from restms_cluster.connection import Connection
from restms_cluster.errors import StartError
from restms_cluster.keeper import KEEPING, Keeper
from restms_cluster.keys import domain_of, probe_key
from restms_cluster.levels import Disk
from restms_cluster.link import UndoneError
from restms_cluster.notifications import Notifications
from restms_cluster.subscriber import Topic

RETIRE_SECONDS = 0.25  # for the answers that are under way when a shard is left

Enter: TypeAlias = Callable[[Calls, Collection[str]], Awaitable[object]]
"""What is to be done before calls of these domains run on a link, or on a connection.

It is called on each new link to a primary, with the domains that live there,
and when domains come to a shard that has links already. Where it raises a
RestMSError, it is tried again on another link, and no call of the domains
runs until then.
"""


class Loads:
    """How often the scripts were loaded; who loads them now has the lock."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = trio.Lock()


class Shard:
    """A primary as one node sees it: connections, hints, and the domains that live there."""

    def __init__(
        self,
        address: Address,
        domains: Iterable[str],
        node: str,
        timeout: float,
        enter: Enter,
        lost: Callable[[], None],
        *,
        disk: Disk | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.disk = disk or Disk()
        self.keeper = keeper or Keeper()
        self.address = address
        self.domains = set(domains)
        self.nodes = 1  # that have them, as far as is known
        self.loads = Loads()
        self._node = node
        self._timeout = timeout
        self._enter = enter
        self._lost = lost
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._opening = trio.Lock()
        self._left = False
        self.connection = self._connection()
        self.connections = {"": self.connection}
        self.notifications = Notifications(address, self._probe_key(), lost=lost)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and stay so until closed. Raises StartError, in a group, at first only."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self.connection.run)
                await nursery.start(self.notifications.run)
                nursery.start_soon(self.keeper.run, partial(self.other, KEEPING))
                task_status.started()

    async def other(self, role: str) -> Connection:
        """Return another connection to the same place, for calls that would hold others up.

        It is made when its role is first asked for. Raises UndoneError where it
        cannot be made, or is to be no more.
        """
        async with self._opening:
            if role not in self.connections:
                if self._nursery is None or self._left:
                    raise UndoneError("Redis is out of reach.")
                connection = self._connection()
                try:
                    await self._nursery.start(connection.run)
                except StartError as error:
                    raise UndoneError(str(error)) from error
                self.connections[role] = connection
                if self._left:
                    connection.close()
            return self.connections[role]

    async def welcome(self, domains: Collection[str]) -> None:
        """Let domains come to live here. Raises what `enter` raises."""
        # First, so that it holds for a link that is made meanwhile, too.
        arriving = set(domains) - self.domains
        self.domains |= arriving
        try:
            for connection in list(self.connections.values()):
                await self._enter(connection, domains)
        except BaseException:
            self.domains -= arriving
            raise
        self.notifications.probe_key = self._probe_key()

    def enter_anew(self) -> None:
        """Have every connection get another link, on which no call runs that may not."""
        for connection in self.connections.values():
            connection.leave()

    def farewell(self, domains: Collection[str]) -> list[Topic]:
        """Let domains go; return what is watched of them, for another shard to `adopt`."""
        leaving = frozenset(domains)
        self.domains -= leaving
        if self.domains:
            self.notifications.probe_key = self._probe_key()
        return self.notifications.release(lambda key: domain_of(key) in leaving)

    def start_soon(self, task: Callable[["Shard"], Awaitable[None]]) -> None:
        """Run a task for as long as the shard is in use."""
        if self._nursery is not None:
            self._nursery.start_soon(task, self)

    async def retire(self) -> None:
        """Take no more calls, give those under way a moment for their answers, and end."""
        self._left = True
        for connection in self.connections.values():
            connection.close()
        await trio.sleep(RETIRE_SECONDS)
        self.close()

    def close(self) -> None:
        """End at once."""
        self._scope.cancel()

    def _probe_key(self) -> str:
        return probe_key(min(self.domains), self._node)  # it must be a key that lives here

    def _connection(self) -> Connection:
        return Connection(self.address, timeout=self._timeout, begin=self._begin, lost=self._lost)

    async def _begin(self, calls: Calls) -> None:
        if self.domains:
            await self._enter(calls, tuple(self.domains))
