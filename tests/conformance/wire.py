"""HTTP byte by byte, for what no client library lets one send."""

import http.client
import socket
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

BOUND_SECONDS = 10.0


class Wire:
    """A connection to one node: bytes go in as they are, answers come out parsed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port), BOUND_SECONDS)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def request(
        self, method: str, path: str, body: bytes = b"", version: str = "1.1", **headers: str
    ) -> bytes:
        """Return the bytes of a request; HTTP/1.1 gets a Host, a body gets its length."""
        lines = [f"{method} {path} HTTP/{version}"]
        if version == "1.1":
            lines.append(f"Host: {self.host}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def answer(self, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
        """Read one answer: status, headers, body."""
        status = int(self._file.readline().split()[1])
        headers = http.client.parse_headers(self._file)
        length = 0 if method == "HEAD" or status in (204, 304) else headers["Content-Length"]
        body = self._file.read() if length is None else self._file.read(int(length))
        return status, headers, body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()
