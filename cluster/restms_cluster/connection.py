"""The connection that all tasks of a node share.

One link carries everybody's commands. When it is lost, the calls under way
fail at once, and a supervisor connects again for ever. A call that comes while
there is no link waits a little for the next one: nothing of it was sent, so
that is safe even for a write.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import trio
from redis.exceptions import ResponseError

from restms_cluster.address import Address
from restms_cluster.calls import Beginning, Calls
from restms_cluster.dialer import Dialer, nothing
from restms_cluster.errors import RestMSError, StartError, StateUnavailableError
from restms_cluster.link import Answer, Argument, Link, LostError, Reply, UndoneError
from restms_cluster.pipeline import Head, Pipeline

Begin: TypeAlias = Callable[[Calls], Awaitable[None]]

OLDEST_REDIS = (7, 0)

_logger = logging.getLogger("restms.connection")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the server says it is: `name` is "redis", "valkey" or the like, in small letters.

    `mode` is "standalone", "cluster" or "sentinel".
    """

    name: str
    version: str
    mode: str = "standalone"


async def _at_once(_: Calls) -> None:
    pass


class Connection(Calls):
    """A supervised, pipelined connection. Start it with `await nursery.start(connection.run)`."""

    def __init__(
        self,
        address: Address,
        *,
        timeout: float = 10.0,
        patience: float = 2.0,
        begin: Begin = _at_once,
        lost: Callable[[], None] = nothing,
    ) -> None:
        """`timeout` bounds each answer, `patience` the wait for a lost link; both in seconds.

        `begin` runs on each new link before anybody else's calls do; where it
        raises a RestMSError, another link is tried. `lost` is called whenever
        there is no link.
        """
        self.address = address
        self.generation = 0
        self.round_trips = 0
        self._timeout = timeout
        self._patience = patience
        self._begin = begin
        self._lost = lost
        self._pipeline: Pipeline | None = None
        self._attached = trio.Event()
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a link now."""
        return self._pipeline is not None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and connect again whenever the link is lost. Raises StartError at first only."""
        dialer = Dialer(self.address, _logger, self._lost)
        link = await dialer.first()
        while True:
            async with link:
                cause = await self._serve(link, task_status if self.generation == 0 else None)
            if self.generation == 0:
                raise StartError(cause.text)
            link = await dialer.again(cause)

    def close(self) -> None:
        """Take no more calls: those that wait for a link, or come, raise UndoneError at once.

        Those under way are answered as long as `run` goes on.
        """
        self._closed = True
        self._pipeline = None
        self._attached.set()

    def leave(self) -> None:
        """Give the link up, if there is one: calls wait for the next, on which `begin` ran."""
        if self._pipeline is not None:
            self._pipeline.leave()

    async def call_grouped(
        self, head: Head, call: Sequence[Argument], weight: int, *, retry: bool = False
    ) -> Reply | ResponseError:
        """Make a call that may travel with others in one command; return its part of the answer.

        `weight` is how much work it is, see Pipeline.join. Raises
        StateUnavailableError as `call` does; returns other error replies.
        """
        # The path of most messages: written out, for each step in between costs.
        pipeline = self._pipeline or await self._wait_attached()
        self.round_trips += 1
        try:
            answer = await pipeline.join(head, call, weight)
        except LostError:
            if not retry:
                raise
            pipeline = await self._wait_attached()
            self.round_trips += 1
            answer = await pipeline.join(head, call, weight)
        if isinstance(answer, StateUnavailableError):
            raise type(answer)(answer.text)
        return answer

    async def wait_generation(self, after: int) -> int:
        """Wait until `generation` is greater than `after`, as it is after the next connect."""
        while self.generation <= after:
            await self._attached.wait()
        return self.generation

    async def serverinfo(self) -> ServerInfo:
        """Ask the server what it is. Raises ResponseError if it does not know the question."""
        # HELLO, for INFO is among the "dangerous" commands that many access lists leave out.
        reply = await self.call("HELLO", retry=True)
        facts = reply if isinstance(reply, list) else []
        found = {
            name: value.decode("utf-8", "replace")
            for name, value in zip(facts[::2], facts[1::2], strict=False)
            if name in (b"server", b"version", b"mode") and isinstance(value, bytes)
        }
        name = "redis" if b"server" not in found else found[b"server"].lower()
        mode = found.get(b"mode", "standalone")
        return ServerInfo(name, found.get(b"version", "0"), mode)

    async def _serve(
        self, link: Link, task_status: trio.TaskStatus[None] | None
    ) -> StateUnavailableError:
        pipeline = Pipeline(link, self._timeout)
        causes: list[StateUnavailableError] = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, pipeline, causes, nursery.cancel_scope)
                try:
                    await self._begin(Beginning(pipeline))
                except RestMSError as error:
                    causes.append(StateUnavailableError(error.text))
                    nursery.cancel_scope.cancel()
                else:
                    self._attach(pipeline)
                    if task_status is not None:
                        task_status.started()
        finally:
            # First detach, then fail: a call that is repeated must find the next link.
            self._pipeline = None
            pipeline.fail(causes[0] if causes else LostError())
        return causes[0]

    async def _carry(
        self,
        pipeline: Pipeline,
        causes: list[StateUnavailableError],
        serving: trio.CancelScope,
    ) -> None:
        causes.append(await pipeline.run())
        serving.cancel()

    def _attach(self, pipeline: Pipeline) -> None:
        self._pipeline = None if self._closed else pipeline
        self.generation += 1
        self._attached.set()
        self._attached = trio.Event()

    async def _request(self, data: bytes, count: int, *, retry: bool) -> list[Answer]:
        pipeline = self._pipeline or await self._wait_attached()
        self.round_trips += 1
        try:
            return await pipeline.request(data, count)
        except LostError:
            if not retry:
                raise
        pipeline = await self._wait_attached()
        self.round_trips += 1
        return await pipeline.request(data, count)

    async def _wait_attached(self) -> Pipeline:
        with trio.move_on_after(self._patience):
            while self._pipeline is None and not self._closed:
                await self._attached.wait()
            if self._pipeline is not None:
                return self._pipeline
        raise UndoneError("Redis is out of reach.")


async def check_server(connection: Connection) -> ServerInfo:
    """Return what the server is; StartError if it is older than what the scripts need."""
    try:
        info = await connection.serverinfo()
        version = tuple(int(part) for part in info.version.split(".")[:2])
    except (ResponseError, ValueError):
        raise StartError(f"The server at {connection.address} does not tell its version.") from None
    except StateUnavailableError as error:
        raise StartError(f"The server at {connection.address} cannot serve: {error.text}") from None
    if info.name == "redis" and version < OLDEST_REDIS:
        raise StartError(
            f"Redis {info.version} is too old: 7.0 or newer, or any Valkey, is needed."
        )
    return info
