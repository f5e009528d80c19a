"""The stream by which a connection goes over from the lane to Hypercorn."""

import math

import trio

PARTING_SECONDS = 5.0


class Replayed(trio.abc.HalfCloseableStream):
    """A connection of which some has been read, and will be read once more.

    `scope` is for whoever serves it: it is cancelled a little after the client has gone, or
    the connection was closed. Hypercorn does not always tell the application, which would
    then wait for a client who cannot come.
    """

    def __init__(self, stream: trio.SocketStream, ahead: bytes = b"") -> None:
        self.scope = trio.CancelScope()
        self.socket = stream.socket  # where Hypercorn looks for addresses
        self._stream = stream
        self._ahead = ahead

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what was read ahead; then what comes."""
        if not self._ahead:
            try:
                some = await self._stream.receive_some(max_bytes)
            except trio.BrokenResourceError:
                self._part()
                raise
            if not some:
                self._part()
            return some
        await trio.lowlevel.checkpoint()
        most = len(self._ahead) if max_bytes is None else max_bytes
        ahead, self._ahead = self._ahead[:most], self._ahead[most:]
        return ahead

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._part()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending is likely not to wait."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Tell the client that no more comes."""
        self._part()
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        self._part()
        await self._stream.aclose()

    def _part(self) -> None:
        if self.scope.deadline == math.inf:
            self.scope.deadline = trio.current_time() + PARTING_SECONDS
