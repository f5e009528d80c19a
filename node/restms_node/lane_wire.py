"""A client's connection while it is the lane's: bytes in and out, and whether the client is there.

The socket is the system's own. Trio's would yield at every call, whereas here
a task yields only where it has to wait.
"""

import socket
from types import TracebackType

import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

PIECE_BYTES = 16 * 1024
AHEAD_BYTES = 16 * 1024  # of what a client sends while its request waits, no more is read
LEAST_RATE = 8 * 1024  # bytes a second that a client must read, beside a pause
LEAST_PAUSE = 30.0
PARTING_SECONDS = 1.0  # for a client to read its last answer


def least_seconds(size: int) -> float:
    """Return how long a client may take to read so many bytes, or else it is given up."""
    return LEAST_PAUSE + size / LEAST_RATE


class Wire:
    """A connection. `come` is what has been read and not yet used; `gone` tells of the client.

    `waited` tells whether a request has waited since it was last set to False.
    It is `new` until the first request has come.

    Its methods raise OSError or ClosedResourceError where it is no more.
    """

    __slots__ = ("_nursery", "_parked", "_socket", "come", "gone", "new", "waited")

    def __init__(self, raw: socket.socket, nursery: trio.Nursery) -> None:
        """Begin; the nursery is for the task that watches a client whose request waits."""
        raw.setblocking(False)  # noqa: FBT003, the standard library's signature
        self.come = b""
        self.gone = False
        self.waited = False
        self.new = True
        self._socket = raw
        self._nursery = nursery
        self._parked: trio.CancelScope | None = None

    @property
    def client(self) -> tuple[str, int] | None:
        """The client's address and port; None where it has gone already."""
        try:
            return self._socket.getpeername()[:2]  # type: ignore[no-any-return]
        except OSError:
            return None

    async def receive(self, most: int = PIECE_BYTES) -> bytes:
        """Wait for bytes and return them; nothing at the end."""
        while True:
            await wait_readable(self._socket)
            try:
                return self._socket.recv(most)
            except BlockingIOError:
                continue

    def take(self, count: int) -> bytes:
        """Take so many bytes off what has come."""
        taken, self.come = self.come[:count], self.come[count:]
        return taken

    async def send(self, data: bytes, seconds: float) -> None:
        """Send all. TooSlowError where the client reads nothing for so long."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._send_on(memoryview(data)[sent:], seconds)

    async def _send_on(self, rest: memoryview, seconds: float) -> None:
        # Who takes a byte now and then would keep the answer in memory for ever.
        with trio.fail_after(least_seconds(len(rest))):
            while rest:
                with trio.fail_after(seconds):
                    await wait_writable(self._socket)
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    continue

    async def part(self) -> None:
        """Let the client read: if we closed on what it has sent, it would lose the last answer."""
        self._socket.shutdown(socket.SHUT_WR)
        with trio.move_on_after(PARTING_SECONDS):
            while await self.receive():
                pass

    def close(self) -> None:
        """Close at once, whoever waits."""
        if self._socket.fileno() >= 0:
            notify_closing(self._socket)
            self._socket.close()

    def watched(self, scope: trio.CancelScope) -> "Watched":
        """Return what cancels a scope when the client goes, while it is open."""
        return Watched(self, scope)

    def watch(self, scope: trio.CancelScope) -> None:
        """Begin to watch."""
        self._parked = scope
        self.waited = True
        self._nursery.start_soon(self._watch, scope)

    def unwatch(self) -> None:
        """Watch no more."""
        self._parked = None
        notify_closing(self._socket)  # ends the other task's waiting, though nothing is closed

    async def _watch(self, scope: trio.CancelScope) -> None:
        try:
            while self._parked is scope and len(self.come) < AHEAD_BYTES:
                await wait_readable(self._socket)
                if self._parked is scope:  # else what has come is for the other task to read
                    self._look()
        except trio.ClosedResourceError:
            pass
        except OSError:
            self.gone = True
            scope.cancel()

    def _look(self) -> None:
        try:
            some = self._socket.recv(AHEAD_BYTES)
        except BlockingIOError:
            return
        if not some:
            raise BrokenPipeError
        self.come += some


class Watched:
    """While it is open, a client who goes ends the wait."""

    __slots__ = ("_scope", "_wire")

    def __init__(self, wire: Wire, scope: trio.CancelScope) -> None:
        self._wire = wire
        self._scope = scope

    def __enter__(self) -> None:
        self._wire.watch(self._scope)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._wire.unwatch()
