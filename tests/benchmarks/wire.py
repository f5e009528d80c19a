"""HTTP/1.1 with as little of a client as will do: requests made ahead, answers taken apart."""

import socket
from urllib.parse import urlsplit

import trio

XML = "application/restms+xml"
JSON = "application/restms+json"
CBOR = "application/restms+cbor"
TIMEOUT_SECONDS = 60.0  # for an answer, longer than a node lets a request wait


class AnswerError(RuntimeError):
    """The server did not do what was asked, or said nothing that can be understood."""


def request(method: str, path: str, body: bytes = b"", kind: str = XML, *more: str) -> bytes:
    """Return a request's bytes; `more` are further header lines."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Accept: {kind}", *more]
    if body:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def take_answer(read: bytearray) -> bytes | None:
    """Take the first answer off what was read and return its body; None if it is not all there.

    AnswerError unless it is a success.
    """
    end = read.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(read[:end]).lower()
    length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
    whole = end + 4 + length
    if len(read) < whole:
        return None
    body = bytes(read[end + 4 : whole])
    del read[:whole]
    if not head.startswith(b"http/1.1 2"):
        status, _, _ = head.partition(b"\r\n")
        raise AnswerError(f"{status.decode()}: {body[:200].decode()}")
    if b"transfer-encoding" in head:
        raise AnswerError("an answer in chunks, which this client does not read")
    return body


def host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


class Line:
    """One kept connection that blocks: the least time between a request and its answer."""

    def __init__(self, url: str) -> None:
        self._socket = socket.create_connection(host_and_port(url), TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = bytearray()

    def ask(self, raw: bytes) -> bytes:
        """Send a request, or several, and return the first answer's body."""
        self.send(raw)
        return self.receive()

    def send(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def receive(self) -> bytes:
        """Return the next answer's body."""
        while (body := take_answer(self._read)) is None:
            some = self._socket.recv(1 << 18)
            if not some:
                raise AnswerError("the server closed the connection")
            self._read += some
        return body

    def close(self) -> None:
        self._socket.close()


class Wire:
    """One kept connection for Trio."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._read = bytearray()

    @classmethod
    async def to(cls, url: str) -> "Wire":
        return cls(await trio.open_tcp_stream(*host_and_port(url)))

    async def send(self, method: str, path: str, body: bytes = b"", kind: str = XML) -> bytes:
        """Send a request; return the answer's body. AnswerError unless it is a success."""
        await self._stream.send_all(request(method, path, body, kind))
        while (answer := take_answer(self._read)) is None:
            some = await self._stream.receive_some(65536)
            if not some:
                raise AnswerError("the server closed the connection")
            self._read += some
        return answer
