"""A connection of Hypercorn's, as strict as the lane and with the project's own refusals.

HTTP/2 is not spoken: nothing needs it behind a proxy, and without it there are
no floods of its frames. Sending is bounded, and a client is given time to
read its last answer.
"""

import math
from contextlib import suppress
from typing import cast

import h11
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Request as StreamRequest
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from restms_node.frames import Frames
from restms_node.guard import PROCEED
from restms_node.heads import Connection
from restms_node.lane_wire import least_seconds
from restms_node.problems import REFUSALS, refusal
from restms_node.traffic import Traffic

PARTING_SECONDS = 5.0  # for a client that still sends to see its last answer
PARTING_PAUSE = 1.0  # who sends nothing for so long has had the time to read
PARTING_BYTES = 64 * 1024 * 1024


class Context(WorkerContext):
    """What all connections share: whether the server ends, and where refusals are counted."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(None)
        self.traffic = traffic


class Protocol(H11Protocol):
    """HTTP/1.1 by h11, which is asked only about heads that the lane's parser takes too."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Take up no other protocol: an offer of h2c may be overlooked (RFC 9110 7.8)."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers = {name.lower(): value.lower() for name, value in request.headers}
        if request.method != b"GET" or headers.get(b"upgrade", b"").strip() != b"websocket":
            await super()._create_stream(request)
            return
        place = (self.ssl, self.client, self.server)
        self.stream = Frames(
            self.app,
            self.config,
            self.context,
            self.task_group,
            *place,
            self.stream_send,
            STREAM_ID,
        )
        self.connection = H11WSConnection(cast("h11.Connection", self.connection))
        await self.stream.handle(
            StreamRequest(
                stream_id=STREAM_ID,
                headers=Frames.without_compression(list(request.headers)),
                http_version=request.http_version.decode(),
                method="GET",
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def proceed(self) -> None:
        """Let a client that waits for it send its body (RFC 9110 10.1.1)."""
        if getattr(self.connection, "client_is_waiting_for_100_continue", False):
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def _send_error_response(self, status_code: int) -> None:
        status, headers, body = refusal(status_code)
        if isinstance(self.context, Context):
            self.context.traffic.refuse(REFUSALS[status][0], status)
        headers.append((b"connection", b"close"))
        await self._send_h11_event(h11.Response(status_code=status, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Server(TCPServer):
    """Serves one connection; it ends when the client goes, or has been given time to."""

    _reading: trio.CancelScope
    _parting = False
    _over = False
    _parts_at = math.inf
    _latest = math.inf
    _sending: trio.CancelScope | None = None

    def end_by(self, latest: float) -> None:
        """Send nothing after that time, whoever reads: no other cancelling ends a send."""
        self._latest = latest
        if self._sending is not None:
            self._sending.deadline = min(self._sending.deadline, latest)

    async def run(self) -> None:
        """Serve to the end."""
        socket = self.stream.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
            async with TaskGroup() as tasks:
                self._task_group = tasks
                protocol = Protocol(
                    *(self.app, self.config, self.context, tasks),
                    ConnectionState(self.state),
                    *(False, client, server, self.protocol_send),
                )
                protocol.connection_state[PROCEED] = protocol.proceed
                protocol.connection = Connection(
                    h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
                )
                # It is used as the wrapper that could turn to HTTP/2.
                self.protocol = cast("ProtocolWrapper", protocol)
                await self.idle_task.restart(tasks, self._idle_timeout)
                with trio.CancelScope() as self._reading:
                    await self._read_data()
                self._over = True
                await self.idle_task.stop()  # else it would hold the connection's place on
                await self.protocol.handle(Closed())
                await self.stream.aclose()
        except OSError:
            pass
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self.stream)

    async def protocol_send(self, event: Event) -> None:
        """Send, within the time that a client may take; or end, so that it sees the answer."""
        if isinstance(event, RawData):
            if event.data:  # h11's end of a body of known length has none
                await self._send(event.data)
        elif isinstance(event, Closed):
            await self._part()
            await self.protocol.handle(Closed())
        elif not self._over:
            await super().protocol_send(event)

    async def _send(self, data: bytes) -> None:
        with trio.CancelScope(shield=True) as sending:
            try:
                self.send_lock.acquire_nowait()  # which saves a turn of all tasks
            except trio.WouldBlock:
                await self.send_lock.acquire()
            try:
                if self._parting:
                    return
                self._sending = sending
                latest = trio.current_time() + least_seconds(len(data))
                sending.deadline = min(latest, self._latest)
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.protocol.handle(Closed())
            finally:
                self._sending = None
                self.send_lock.release()
        if sending.cancelled_caught:
            await trio.aclose_forcefully(self.stream)
            await self.protocol.handle(Closed())

    async def _part(self) -> None:
        if self._parting:
            return
        self._parting = True
        with suppress(trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError):
            async with self.send_lock:  # the application may be sending
                await self.stream.send_eof()
        self._parts_at = trio.current_time() + PARTING_SECONDS
        self._wait_for_its_end()

    def _wait_for_its_end(self) -> None:
        self._reading.deadline = min(self._parts_at, trio.current_time() + PARTING_PAUSE)

    async def _read_data(self) -> None:
        dropped = 0
        while dropped < PARTING_BYTES:
            try:
                data = await self.stream.receive_some(MAX_RECV)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return
            if self._parting:
                dropped += len(data)
                self._wait_for_its_end()
            else:
                await self.protocol.handle(RawData(bytes(data)))
            if not data:
                return
