"""Serving connections: the lane's where there is one, else Hypercorn's.

Hypercorn's own loop (hypercorn.trio.run) gives every connection to its
TCPServer, ours a stricter one; this is the same loop, but asks the lane first.
"""

import logging
import math
import resource
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState

from restms_cluster.errors import UnavailableError
from restms_node.connections import Context, Server
from restms_node.lane import Lane
from restms_node.lane_answers import written
from restms_node.lane_streams import Replayed
from restms_node.node import Node
from restms_node.problems import problem

RESERVED_FILES = 100  # for Redis, the log, uploads, and connections that are turned away

SHORTAGE_SECONDS = 10.0

_log = logging.getLogger("restms.serving")


class Shortage:
    """Tells of files that are missing for connections, in one line now and then.

    Trio looks again ten times a second, each time with a stack trace in the log.
    """

    def __init__(self) -> None:
        self._told_at = -math.inf

    def __call__(self, record: logging.LogRecord) -> bool:
        """Tell whether a line of Trio's is to be written; as a filter of its log."""
        record.exc_info = None
        now = time.monotonic()
        told = now - self._told_at < SHORTAGE_SECONDS
        if not told:
            self._told_at = now
        return not told


logging.getLogger("trio.serve_listeners").addFilter(Shortage())


async def serve_connections(
    app: AppWrapper,
    config: Config,
    listener: socket.socket,
    node: Node,
    until_told: Callable[[], Awaitable[None]],
) -> None:
    """Serve until told to end; then take no more, and answer what is under way for a while."""
    state: LifespanState = {}
    lifespan = Lifespan(app, config, state)
    context = Context(node.traffic)
    async with trio.open_nursery() as application:
        await application.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as nursery:
            lane = None
            if node.settings.lane:
                lane = Lane(node, nursery, idle_seconds=config.keep_alive_timeout)
            connections = Connections(app, config, context, state, lane)
            try:
                async with trio.open_nursery() as accepting:
                    if lane is not None:
                        accepting.start_soon(lane.sweep)
                    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
                    await accepting.start(_accept, connections.serve, listeners, nursery)
                    await until_told()
                    accepting.cancel_scope.cancel()
                    _take_the_last(listener, connections.serve, nursery)
            finally:
                await context.terminated.set()
                nursery.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
                connections.end_by(nursery.cancel_scope.deadline)
        await lifespan.wait_for_shutdown()
        application.cancel_scope.cancel()


class Connections:
    """Serves connections, as many as there are places for."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        lane: Lane | None,
        *,
        most: float = math.inf,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._state = state
        self._lane = lane
        self._places = Places(most)
        self._servers = set[Server]()
        self._latest = math.inf

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve a connection to its end."""
        try:
            if self._places.take():
                goes_on = Replayed(stream) if self._lane is None else await self._lane.serve(stream)
                if goes_on is not None:
                    await self._serve_by_hypercorn(goes_on)
                return
            await _turn_away(stream)
            if isinstance(self._context, Context):
                self._context.traffic.refuse(UnavailableError.word, UnavailableError.status)
        finally:
            self._places.leave()

    def end_by(self, latest: float) -> None:
        """Close those that have nothing to be answered, and end the others by that time."""
        if self._lane is not None:
            self._lane.close()
        self._latest = latest
        for server in self._servers:
            server.end_by(latest)

    async def _serve_by_hypercorn(self, stream: Replayed) -> None:
        # It takes any stream, though it names one only.
        any_stream = cast("trio.SSLStream[trio.SocketStream]", stream)
        state = ConnectionState(self._state.copy())
        server = Server(self._app, self._config, self._context, state, any_stream)
        server.end_by(self._latest)
        self._servers.add(server)
        try:
            with stream.scope:
                await server
        except* Exception as errors:  # noqa: BLE001, what Hypercorn did not foresee ends one only
            _log.warning("a connection was closed: %s", _first(errors))
            await trio.aclose_forcefully(stream)
        finally:
            self._servers.discard(server)
        if stream.scope.cancelled_caught:
            await trio.aclose_forcefully(stream)


class Places:
    """Bounds the open connections, so that files are left for Redis and for the node itself."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._open = 0

    def take(self) -> bool:
        """Count a connection; tell whether there is a place for it."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        left = math.inf if files == resource.RLIM_INFINITY else files - RESERVED_FILES
        self._open += 1
        return self._open <= min(left, self._most)

    def leave(self) -> None:
        """Count one that has ended, whether it had a place or not."""
        self._open -= 1


async def _turn_away(stream: trio.SocketStream) -> None:
    """Answer 503 and close."""
    answer = problem(UnavailableError("This node has as many connections as it can."))
    with trio.move_on_after(1), suppress(trio.BrokenResourceError):
        await stream.send_all(written(answer, close=True))
    await trio.aclose_forcefully(stream)


def _first(errors: BaseException) -> str:
    """Return what is at the bottom of a group of errors, in a few words."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return f"{type(errors).__name__}: {errors}"[:200]


def _take_the_last(
    listener: socket.socket,
    serve: Callable[[trio.SocketStream], Awaitable[None]],
    connections: trio.Nursery,
) -> None:
    """Take all connections that have been made, and close the port before there are more.

    Those that were left would be reset, and with them requests that nobody has seen.
    """
    while True:
        try:
            made, _ = listener.accept()
        except OSError:  # there are none, or no files for them
            break
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(made))
        connections.start_soon(serve, stream)
    listener.close()


async def _accept(
    serve: Callable[[trio.SocketStream], Awaitable[None]],
    listeners: list[trio.SocketListener],
    connections: trio.Nursery,
    *,
    task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED,
) -> None:
    await trio.serve_listeners(
        serve, listeners, handler_nursery=connections, task_status=task_status
    )
