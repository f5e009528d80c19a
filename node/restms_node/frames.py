"""The frames of a WebSocket: each that breaks the protocol ends it, with a code, for both sides.

Hypercorn closes on a frame that is too large without telling the application,
which would hold its wait's place on; and it does not say why it closes on
bytes that are no frame (RFC 6455 7.4.1).
"""

from hypercorn.protocol.events import Body, Data, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from restms_node.problems import refusal


class Frames(WSStream):
    """A WebSocket's stream of frames."""

    @staticmethod
    def without_compression(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Overlook an offer to compress, which Hypercorn would always take up.

        It costs some 300 KB a connection, and a frame may then grow a
        thousandfold before anybody looks at its size.
        """
        return [item for item in headers if item[0].lower() != b"sec-websocket-extensions"]

    async def handle(self, event: StreamEvent) -> None:
        """Take an event; frames before the handshake's answer end the connection."""
        early = isinstance(event, Body | Data) and not self.handshake.accepted
        if early and not self.closed:
            await self._send_error_response(400)
            await self.send(StreamClosed(stream_id=self.stream_id))
        else:
            await super().handle(event)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                try:
                    self.buffer.extend(event)
                except FrameTooLargeError:
                    await self._end(CloseReason.MESSAGE_TOO_BIG)
                    return
                if event.message_finished and self.app_put is not None:
                    await self.app_put(self.buffer.to_message())
                    self.buffer.clear()
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                await self._close(event)
                return

    async def _close(self, event: CloseConnection) -> None:
        state = self.connection.state
        if state is ConnectionState.REMOTE_CLOSING:
            await self._send_wsproto_event(event.response())
        elif state is not ConnectionState.CLOSED:  # then it answers our own close
            await self._end(CloseReason(event.code))
            return
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _end(self, code: CloseReason) -> None:
        await self._send_wsproto_event(CloseConnection(code=code))
        self.state = ASGIWebsocketState.CLOSED
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_error_response(self, status_code: int) -> None:
        status, headers, body = refusal(status_code)
        headers.append((b"connection", b"close"))
        await self.send(Response(stream_id=self.stream_id, status_code=status, headers=headers))
        await self.send(Body(stream_id=self.stream_id, data=body))
        await self.send(EndBody(stream_id=self.stream_id))
