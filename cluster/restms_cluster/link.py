"""One raw connection to Redis: opened, introduced, written and read.

A link knows nothing of who waits for which answer; it carries commands out
and replies in, in order, until it is lost. Whatever the transport raises then
comes out as LostError.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import trio
from hiredis import ProtocolError, Reader, pack_command
from redis.connection import DefaultParser
from redis.exceptions import NoPermissionError, ResponseError

from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError

Argument: TypeAlias = str | bytes | int | float
Reply: TypeAlias = bytes | int | list["Reply"] | None
Answer: TypeAlias = Reply | ResponseError | StateUnavailableError
"""What hiredis reads: a reply, or an error reply as the exception that means it."""

CONNECT_SECONDS = 5.0
CLIENT_NAME = "restms"
LOST = "The connection to Redis was lost."

_MORE = object()


class Late(Protocol):
    """Commands that are packed when they are written, and may grow until then."""

    def packed(self) -> bytes:
        """Return them as they go over the link. Nothing may be added any more."""
        ...


_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds and probes after which the system gives an idle dead peer up."""

_NOT_NOW = {
    "ASK": "Redis is moving its data.",
    "BUSY": "Redis is busy with a script.",
    "CLUSTERDOWN": "The Redis cluster is down.",
    "LOADING": "Redis is still loading its data.",
    "MASTERDOWN": "Redis has lost its primary.",
    "MOVED": "Another server of the Redis Cluster has the data.",
    "MISCONF": "Redis cannot write to its disk.",
    "NOAUTH": "Redis asks for a password.",
    "NOREPLICAS": "Redis has too few replicas to accept a write.",
    "OOM": "Redis is out of memory.",
    "READONLY": "Redis is a read-only replica.",
    "TRYAGAIN": "Redis is moving its data.",
    "WRONGPASS": "Redis refuses the user name or the password.",
}
_OTHER_SERVER = ("MASTERDOWN", "READONLY")
"""After a failover these mean that the link leads to a server that was the primary."""


class LostError(StateUnavailableError):
    """The link was lost; whether its last commands were carried out is unknown."""

    def __init__(self, text: str = LOST) -> None:
        super().__init__(text)


class UndoneError(StateUnavailableError):
    """Nothing of the call was done, so that even a write may be repeated elsewhere."""


class DemotedError(UndoneError):
    """The server at the other end cannot be written to: another one is the primary now."""


class MovedError(UndoneError):
    """The slot of the call's keys is another server's of the Redis Cluster."""


def pack(*args: Argument) -> bytes:
    """Return a command as it goes over the link."""
    packed: bytes = pack_command(args)  # type: ignore[arg-type]
    return packed


def pack_arguments(*args: Argument) -> bytes:
    """Return arguments as they go over the link within a command that pack_count begins."""
    packed = pack(*args)
    return packed[packed.index(b"\r\n") + 2 :]


def pack_count(count: int) -> bytes:
    """Return the beginning of a command of so many arguments, its name counted."""
    return b"*%d\r\n" % count


def error_reply(text: str) -> ResponseError | StateUnavailableError:
    """Turn an error reply into the exception that means it."""
    word = text.partition(" ")[0]
    if word in _OTHER_SERVER:
        return DemotedError(_NOT_NOW[word])
    if word == "MOVED":
        return MovedError(_NOT_NOW[word])
    if word in _NOT_NOW:
        return StateUnavailableError(_NOT_NOW[word])
    error = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error if isinstance(error, ResponseError) else ResponseError(text)


class Link:
    """An open connection. `async with` closes it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = Reader(replyError=error_reply, notEnoughData=_MORE)
        self._posted: list[bytes | Late] = []
        self._writer: trio.lowlevel.Task | None = None

    @classmethod
    async def open(cls, address: Address, *, timeout: float = CONNECT_SECONDS) -> Self:
        """Connect, log in and choose the database; see that it is a primary if it is to be one.

        Raises StateUnavailableError, whose text names the address and the
        reason, when that fails or takes longer than `timeout` seconds.
        """
        try:
            with trio.fail_after(timeout):
                link = cls(await _connect(address))
                try:
                    await link._introduce(address)
                except BaseException:
                    await link.aclose()
                    raise
                return link
        except trio.TooSlowError:
            reason = f"no answer within {timeout:g} seconds"
        except (OSError, ValueError, trio.BrokenResourceError) as error:
            reason = _reason(error)
        except (StateUnavailableError, ResponseError) as error:
            reason = str(error).rstrip(".?")
        raise StateUnavailableError(f"Cannot connect to Redis at {address}: {reason}.") from None

    async def send(self, data: bytes) -> None:
        """Write packed commands. Only one task at a time may write."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LostError from error

    async def receive(self) -> list[Answer]:
        """Wait for replies; return all that have come, at least one."""
        replies: list[Answer] = []
        while not replies:
            try:
                data = await self._stream.receive_some()
                if not data:
                    raise LostError
                self._reader.feed(bytes(data))
                while (reply := self._reader.gets()) is not _MORE:
                    replies.append(reply)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise LostError from error
            except ProtocolError as error:
                raise LostError("Redis sent what is not its protocol.") from error
        return replies

    async def call_many(
        self, commands: Sequence[Sequence[Argument]]
    ) -> list[Reply | ResponseError]:
        """Run commands while nobody else uses the link, as a connection does."""
        await self.send(b"".join([pack(*command) for command in commands]))
        answers: list[Answer] = []
        while len(answers) < len(commands):
            answers += await self.receive()
        replies: list[Reply | ResponseError] = []
        for answer in answers:
            if isinstance(answer, StateUnavailableError):
                raise answer
            replies.append(answer)
        return replies

    def post(self, data: bytes | Late) -> None:
        """Leave packed commands to `write_posted`, which sends all that has gathered."""
        self._posted.append(data)
        if self._writer is not None:
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

    async def write_posted(self) -> None:
        """Write what is posted, until the link is lost."""
        while True:
            if not self._posted:
                self._writer = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_writer)
            posted, self._posted = self._posted, []
            await self.send(
                b"".join([one if isinstance(one, bytes) else one.packed() for one in posted])
            )

    def _stop_writer(self, _: Any) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _introduce(self, address: Address) -> None:
        commands = []
        if address.username is not None:
            commands.append(pack("AUTH", address.username, address.password or ""))
        elif address.password is not None:
            commands.append(pack("AUTH", address.password))
        if address.db:
            commands.append(pack("SELECT", address.db))
        if address.primary:
            # Not ROLE, which is among the "dangerous" commands that many access lists leave out.
            commands.append(pack("HELLO"))
        commands.append(pack("CLIENT", "SETNAME", CLIENT_NAME))
        await self.send(b"".join(commands))
        replies: list[Answer] = []
        while len(replies) < len(commands):
            replies += await self.receive()
            for reply in replies[: len(commands) - 1]:
                if isinstance(reply, Exception):
                    raise reply
        if address.primary and not _is_primary(replies[-2]):
            raise DemotedError("it is a replica")
        named = replies[-1]
        # The name is a courtesy to the operator: a user who may not set it is let in all the same.
        if isinstance(named, Exception) and not _is_refusal(named):
            raise named

    async def aclose(self) -> None:
        """Close at once, without a goodbye that a dead peer would not read."""
        await trio.aclose_forcefully(self._stream)

    async def __aenter__(self) -> Self:
        """Return the link."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close the link."""
        await self.aclose()


async def until_lost(*loops: Callable[[], Awaitable[None]]) -> StateUnavailableError:
    """Run the endless loops of one link side by side; return why the first of them ended."""
    causes: list[StateUnavailableError] = []

    async def run(loop: Callable[[], Awaitable[None]]) -> None:
        try:
            await loop()
        except StateUnavailableError as cause:
            causes.append(cause)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for loop in loops:
            nursery.start_soon(run, loop)
    return causes[0]


async def _connect(address: Address) -> trio.abc.Stream:
    if address.path is not None:
        return await trio.open_unix_socket(address.path)
    if address.tls is None:
        return await _connect_tcp(address)
    # The files may be new at every connect (certificates rotate), and reading them takes a while.
    context = await trio.to_thread.run_sync(address.tls.context)
    transport = await _connect_tcp(address)
    stream = trio.SSLStream(transport, context, server_hostname=address.host, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _connect_tcp(address: Address) -> trio.SocketStream:
    # Trio's socket streams have TCP_NODELAY set, as many small commands need it.
    stream = await trio.open_tcp_stream(address.host, address.port)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return stream


def _is_primary(hello: Answer) -> bool:
    facts = hello if isinstance(hello, list) else []
    return (b"role", b"master") in zip(facts[::2], facts[1::2], strict=False)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, NoPermissionError) or "unknown command" in str(error)


def _reason(error: BaseException) -> str:
    """Return what the system says, which Trio wraps in groups and errors of its own."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    text = getattr(error, "strerror", None) or str(error) or "the connection was closed"
    return str(text).rstrip(".")
