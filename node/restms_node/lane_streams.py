"""The stream by which a connection goes over from the lane to Hypercorn."""

import trio


class Replayed(trio.abc.HalfCloseableStream):
    """A connection of which some has been read, and will be read once more."""

    def __init__(self, stream: trio.SocketStream, ahead: bytes) -> None:
        self.socket = stream.socket  # where Hypercorn looks for addresses
        self._stream = stream
        self._ahead = ahead

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what was read ahead; then what comes."""
        if not self._ahead:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        most = len(self._ahead) if max_bytes is None else max_bytes
        ahead, self._ahead = self._ahead[:most], self._ahead[most:]
        return ahead

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending is likely not to wait."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Tell the client that no more comes."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()
