"""Serving connections: the lane's where there is one, else Hypercorn's.

Hypercorn's own loop (hypercorn.trio.run) gives every connection to its
TCPServer; this is the same loop, but asks the lane first.
"""

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState

from restms_node.lane import Lane
from restms_node.lane_streams import Replayed
from restms_node.node import Node

_log = logging.getLogger("restms.serving")


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
    context = WorkerContext(None)
    async with trio.open_nursery() as application:
        await application.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            lane = None
            if node.settings.lane:
                lane = Lane(node, connections, idle_seconds=config.keep_alive_timeout)

            async def serve(stream: trio.SocketStream) -> None:
                goes_on = Replayed(stream) if lane is None else await lane.serve(stream)
                if goes_on is not None:
                    # It takes any stream, though it names one only.
                    any_stream = cast("trio.SSLStream[trio.SocketStream]", goes_on)
                    own_state = ConnectionState(state.copy())
                    try:
                        with goes_on.scope:
                            await TCPServer(app, config, context, own_state, any_stream)
                    # Hypercorn does not catch what bad HTTP/2 does to it; it must not end others.
                    except* Exception as errors:  # noqa: BLE001
                        _log.warning("a connection was closed: %s", _first(errors))
                        await trio.aclose_forcefully(goes_on)
                    if goes_on.scope.cancelled_caught:
                        await trio.aclose_forcefully(goes_on)

            try:
                async with trio.open_nursery() as accepting:
                    if lane is not None:
                        accepting.start_soon(lane.sweep)
                    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
                    await accepting.start(_accept, serve, listeners, connections)
                    await until_told()
                    accepting.cancel_scope.cancel()
            finally:
                await context.terminated.set()
                if lane is not None:
                    lane.close()
                connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        await lifespan.wait_for_shutdown()
        application.cancel_scope.cancel()


def _first(errors: BaseException) -> str:
    """Return what is at the bottom of a group of errors, in a few words."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return f"{type(errors).__name__}: {errors}"[:200]


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
