"""Many clients in one process and one loop, cheap enough not to be what is measured.

A client is a generator: it yields bytes to send and is sent the answer. Where it yields
nothing (b""), it is sent the next answer to what it sent before, so that it may send
several requests at once.

    def publish() -> Conversation:
        for _ in range(10):
            yield request("POST", "/restms/feed/default", body)

    with Clients(url, 16) as clients:
        clients.run([publish() for _ in range(16)])
"""

import select
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.benchmarks.wire import TIMEOUT_SECONDS, AnswerError, host_and_port, take_answer

Conversation = Generator[bytes, bytes, None]
Take = Callable[[bytearray], bytes | None]
"""Takes an answer off what was read, and returns it; None if it is not all there yet."""
CHUNK = 1 << 18


class _Client:
    __slots__ = ("conversation", "left", "read", "socket", "take")

    def __init__(self, connected: socket.socket, take: Take) -> None:
        self.socket = connected
        self.take = take
        self.read = bytearray()
        self.left = b""  # what is still to be sent
        self.conversation: Conversation | None = None


class Clients:
    """Connections to one server, or to several: `run` has a conversation on each."""

    def __init__(self, urls: str | Sequence[str] = (), count: int = 0) -> None:
        """Connect `count` times; with several servers, to each in turn."""
        self._under_way = 0
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}
        addresses = [host_and_port(url) for url in ([urls] if isinstance(urls, str) else urls)]
        try:
            for number in range(count):
                self.adopt(socket.create_connection(addresses[number % len(addresses)]))
        except BaseException:
            self.close()
            raise

    def adopt(self, connected: socket.socket, take: Take = take_answer) -> None:
        """Take over a connection that was made, and perhaps used, by somebody else."""
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients[connected.fileno()] = _Client(connected, take)
        self._epoll.register(connected, select.EPOLLIN)

    def run(self, conversations: Sequence[Conversation]) -> None:
        """Have all the conversations, one on each connection, until they have ended."""
        self.begin(conversations)
        self.finish()

    def begin(self, conversations: Sequence[Conversation]) -> None:
        """Let each conversation send what it begins with."""
        for client, conversation in zip(self._clients.values(), conversations, strict=True):
            client.conversation = conversation
            self._under_way += 1
            self._step(client, None)

    def finish(self) -> None:
        """Go on until all conversations have ended. AnswerError if nothing comes any more."""
        while self._under_way:
            if not self.look(TIMEOUT_SECONDS):
                raise AnswerError(f"{self._under_way} have no answer after {TIMEOUT_SECONDS:.0f} s")

    def look(self, seconds: float = 0.0) -> bool:
        """Go on with whatever comes in that time, and tell whether anything came."""
        events = self._epoll.poll(seconds)
        for number, event in events:
            client = self._clients[number]
            if event & ~select.EPOLLOUT:
                self._receive(client)
            if event & select.EPOLLOUT:
                self._send(client, b"")
        return bool(events)

    def close(self) -> None:
        for client in self._clients.values():
            client.socket.close()
        self._epoll.close()

    def _receive(self, client: _Client) -> None:
        """Read, and go on as far as that leads."""
        some = client.socket.recv(CHUNK)
        if not some and client.conversation is None:  # it was idle for too long
            self._epoll.unregister(client.socket)
            return
        if not some:
            raise AnswerError("the server closed the connection")
        client.read += some
        while client.conversation is not None:
            answer = client.take(client.read)
            if answer is None:
                return
            self._step(client, answer)

    def _step(self, client: _Client, answer: bytes | None) -> None:
        conversation = client.conversation
        assert conversation is not None
        try:
            raw = next(conversation) if answer is None else conversation.send(answer)
        except StopIteration:
            client.conversation = None
            self._under_way -= 1
            return
        if raw:
            self._send(client, raw)

    def _send(self, client: _Client, raw: bytes) -> None:
        waited = bool(client.left)
        left = client.left + raw if waited else raw
        with suppress(BlockingIOError):
            left = left[client.socket.send(left) :]
        client.left = left
        if bool(left) != waited:
            events = select.EPOLLIN | (select.EPOLLOUT if left else 0)
            self._epoll.modify(client.socket, events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
