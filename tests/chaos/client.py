"""An HTTP client for Trio, that does what the protocol tells clients to do, and knows no more.

On 503 it waits as `Retry-After` says and repeats; where no whole answer came, it repeats.
"""

import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import h11
import trio

ANSWER_SECONDS = 50.0  # longer than the balancer gives a node, but for a GET
WAIT_SECONDS = 90.0
PAUSE_SECONDS = 0.2
LOST = (502, 504)  # the balancer's: what the node did, nobody knows

Body = bytes | AsyncIterator[bytes]


class CutError(Exception):
    """There was no whole answer: whether anything was done is unknown."""


@dataclass(frozen=True)
class Answer:
    """An answer; the names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def pause(self) -> float:
        """After how many seconds a 503 wants to be asked again."""
        return float(self.headers.get("retry-after", "1"))


@dataclass
class Client:
    """One connection at a time to one address, made when it is needed.

    `told` counts what became of requests: the status of each, or that there was no whole answer.
    """

    address: tuple[str, int]
    cuts: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    _stream: trio.SocketStream | None = None
    _http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))

    async def insist(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask until there is an answer that is none of "not now"."""
        while True:
            try:
                answer = await self.ask(method, path, body, headers)
            except CutError:
                await self.cut()
                continue
            if answer.status != 503:
                return answer
            await self.refused(answer)

    async def cut(self) -> None:
        """Pause after a lost answer."""
        self.cuts += 1
        await trio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))

    async def refused(self, answer: Answer) -> None:
        """Pause as a 503 says."""
        word = answer.headers.get("restms-error", "balancer")
        self.refusals[word] = self.refusals.get(word, 0) + 1
        await trio.sleep(answer.pause * random.uniform(1, 1.2))

    async def ask(
        self,
        method: str,
        path: str,
        body: Body = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return its answer; CutError if there is no whole one."""
        seconds = WAIT_SECONDS if method == "GET" else ANSWER_SECONDS
        try:
            with trio.fail_after(seconds):
                async with self.stream(method, path, body, headers) as (head, pieces):
                    whole = b"".join([piece async for piece in pieces])
        except trio.TooSlowError:
            raise CutError("no answer in time") from None
        return Answer(head.status, head.headers, whole)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        body: Body = b"",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[tuple[Answer, AsyncIterator[bytes]]]:
        """Send one request; enter with the answer's head and the pieces of its body as they come.

        Raises CutError, also while the pieces are read.
        """
        try:
            await self._send(method, path, body, dict(headers or {}))
            head = await self._head(method)
            async with aclosing(self._pieces()) as pieces:
                yield head, pieces
        except (CutError, OSError, trio.BrokenResourceError, h11.ProtocolError) as error:
            self.told[f"{method} cut"] += 1
            raise CutError(str(error)) from error
        finally:
            await self._leave()

    async def _head(self, method: str) -> Answer:
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        if not isinstance(event, h11.Response):
            raise CutError("no answer")
        head = Answer(
            event.status_code, {name.decode(): value.decode() for name, value in event.headers}
        )
        hopeless = head.status == 503 and "retry-after" not in head.headers
        self.told[f"{method} {head.status}{' without Retry-After' * hopeless}"] += 1
        if head.status in LOST:
            raise CutError(f"{head.status} by the balancer")
        return head

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await trio.aclose_forcefully(stream)

    async def _send(self, method: str, path: str, body: Body, headers: dict[str, str]) -> None:
        if self._stream is not None and self._stream.socket.is_readable():
            await self.close()  # it was idle for too long, and has been closed at the other end
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(*self.address)
            self._http = h11.Connection(h11.CLIENT)
        host, port = self.address
        named = {"Host": f"{host}:{port}", **headers}
        if not isinstance(body, bytes):
            named["Transfer-Encoding"] = "chunked"
        elif body or method == "POST":
            named["Content-Length"] = str(len(body))
        sent = self._http.send(h11.Request(method=method, target=path, headers=list(named.items())))
        if isinstance(body, bytes):
            if body:
                sent = (sent or b"") + (self._http.send(h11.Data(body)) or b"")
        else:
            await self._stream.send_all(sent or b"")
            sent = b""
            async for piece in body:
                await self._stream.send_all(self._http.send(h11.Data(piece)) or b"")
        await self._stream.send_all((sent or b"") + (self._http.send(h11.EndOfMessage()) or b""))

    async def _next(self) -> h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]:
        assert self._stream is not None
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(65536)))
        return event

    async def _pieces(self) -> AsyncGenerator[bytes]:
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise CutError("the body was cut")

    async def _leave(self) -> None:
        states = {self._http.our_state, self._http.their_state}
        if states == {h11.DONE}:
            self._http.start_next_cycle()
        elif states != {h11.IDLE} or self._stream is None:
            await self.close()
