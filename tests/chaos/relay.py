"""A TCP relay that can be told to break what goes through it."""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio
from hiredis import Reader

PIECE = 65536
_MORE = object()


class _Pair:
    """One connection through the relay: both of its ends, and whether it is dead unnoticed."""

    def __init__(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        self.near, self.far = near, far
        self.dead = False
        self.subscribes = False


class Relay:
    """Passes connections on from a port of its own to another one.

    `delay` is in seconds, for each piece in each direction. While `hole` is set nothing
    passes and nobody is told; what was in it stays dead even after it. While `deaf` is
    set, Redis's messages to subscribers are swallowed.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._pairs: set[_Pair] = set()
        self.delay = 0.0
        self.deaf = False
        self._hole = False

    @property
    def hole(self) -> bool:
        return self._hole

    @hole.setter
    def hole(self, hole: bool) -> None:
        self._hole = hole
        for pair in self._pairs:
            pair.dead = True

    async def cut(self) -> None:
        """End all connections with a reset."""
        for pair in list(self._pairs):
            await _abort(pair.near)
            await _abort(pair.far)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, [listener])
            task_status.started()

    async def _serve(self, near: trio.SocketStream) -> None:
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self._to)
        except OSError:
            await _abort(near)
            return
        pair = _Pair(near, far)
        pair.dead = self._hole
        self._pairs.add(pair)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_on, pair, near, far, self._listens)
                nursery.start_soon(self._pass_on, pair, far, near, self._swallowing())
        finally:
            self._pairs.discard(pair)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(near)
                await trio.aclose_forcefully(far)

    async def _pass_on(
        self,
        pair: _Pair,
        source: trio.SocketStream,
        target: trio.SocketStream,
        changed: Callable[[_Pair, bytes], bytes],
    ) -> None:
        broken = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
        with suppress(*broken):
            while data := bytes(await source.receive_some(PIECE)):
                if self.delay:
                    await trio.sleep(self.delay)
                if not pair.dead:
                    await target.send_all(changed(pair, data))
        with suppress(*broken):
            if pair.dead:
                # The other end is told nothing.
                await trio.sleep_forever()
            await target.send_eof()

    @staticmethod
    def _listens(pair: _Pair, data: bytes) -> bytes:
        pair.subscribes = pair.subscribes or b"\r\nSUBSCRIBE\r\n" in data
        return data

    def _swallowing(self) -> Callable[[_Pair, bytes], bytes]:
        """Return what takes the messages out of what Redis says, while the relay is deaf."""
        reader = Reader(notEnoughData=_MORE)

        def changed(pair: _Pair, data: bytes) -> bytes:
            if not pair.subscribes:
                return data
            reader.feed(data)
            said = b""
            while (reply := reader.gets()) is not _MORE:
                if not (self.deaf and isinstance(reply, list) and reply[0] == b"message"):
                    said += _packed(reply)
            return said

        return changed


def _packed(reply: Any) -> bytes:
    """Write an answer to a subscriber: lists of texts and numbers, or one word."""
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(_packed, reply))
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if reply is None:
        return b"$-1\r\n"
    text = reply if isinstance(reply, bytes) else str(reply).encode()
    return b"$%d\r\n%s\r\n" % (len(text), text)


async def _abort(stream: trio.SocketStream) -> None:
    with suppress(OSError, ValueError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
