"""Those who read: each in its own way, for ever, and each goes on by itself whatever breaks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

import cbor2
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
)
from wsproto.utilities import ProtocolError

from tests.chaos.client import Answer, Client, CutError
from tests.chaos.framings import Items, framing
from tests.chaos.ledger import Ledger
from tests.conformance.documents import JSON, Element, Format, data_of

SILENT_SECONDS = 60.0  # a stream gives a sign every 15
GATHER_SECONDS = 0.2


def path_of(uri: str) -> str:
    parts = urlsplit(uri)
    return parts.path + (f"?{parts.query}" if parts.query else "")


@dataclass
class Reader(ABC):
    """Somebody with a pipe. `name` is the pipe's in the ledger."""

    name: str
    pipe: str
    client: Client
    ledger: Ledger
    format: Format = JSON
    type: str = ""

    @abstractmethod
    async def run(self) -> None:
        """Read for ever."""

    async def listed(self, client: Client) -> list[Element]:
        """Return what the pipe lists: its messages and the asynclet."""
        answer = await client.insist("GET", path_of(self.pipe), headers=self.accept())
        if answer.status != 200:
            return []
        return self.format.read(answer.body)["restms"]["pipe"][0].get("message", [])

    async def read(self, uri: str) -> Answer:
        return await self.client.insist("GET", path_of(uri), headers=self.accept())

    def accept(self) -> dict[str, str]:
        return {"Accept": self.format.media_type}

    def take(self, message: Element) -> None:
        """Enter a message in the ledger."""
        text = data_of(message["content"][0]).decode()
        self.ledger.delivered(self.name, message["message_id"], message["href"], text)

    async def free(self, client: Client, hrefs: Sequence[str]) -> None:
        """Acknowledge messages by the last of them."""
        answer = await client.insist("DELETE", path_of(hrefs[-1]))
        if answer.status == 200:
            self.ledger.freed(self.name, hrefs)
        elif answer.status != 404:
            self.ledger.violation("DELETE", f"{self.name}: {answer.status} {hrefs[-1]}")

    async def gone(self) -> None:
        """The pipe is not there: it was never deleted, so something has lost it."""
        self.ledger.violation("gone", f"{self.name}'s pipe")
        await trio.sleep(1)


class OneByOne(Reader):
    """Reads the pipe, each message it lists, and waits at the asynclet. Of ondemand pipes, too."""

    async def run(self) -> None:
        while True:
            listed = await self.listed(self.client)
            if not listed:
                await self.gone()
            for each in listed:
                if not await self._message(each["href"]):
                    break

    async def _message(self, uri: str) -> bool:
        while (answer := await self.read(uri)).status == 204:
            pass
        if answer.status == 404:  # read the pipe again, it says
            return False
        if answer.status != 200:
            self.ledger.violation("GET", f"{self.name}: {answer.status} {uri}")
            return False
        (message,) = self.format.read(answer.body)["restms"]["message"]
        self.take({**message, "href": uri})
        await self.free(self.client, [uri])
        return True


@dataclass
class InBatches(Reader):
    """Reads many messages in one answer, and acknowledges them by the last."""

    waits: bool = True

    async def run(self) -> None:
        while True:
            await self.once()

    async def once(self) -> None:
        """Take a batch, or find that there is none."""
        answer = await self.read(f"{self.pipe}?messages=50")
        if answer.status == 404:
            await self.gone()
        elif answer.status == 200:
            messages = self.format.read(answer.body)["restms"]["message"]
            for message in messages:
                self.take(message)
            await self.free(self.client, [message["href"] for message in messages])

    def accept(self) -> dict[str, str]:
        return {**super().accept(), **({} if self.waits else {"Prefer": "wait=0"})}


async def read_in_turn(readers: Sequence[InBatches]) -> None:
    """Read many pipes, one after the other, for ever."""
    while True:
        for reader in readers:
            await reader.once()


@dataclass
class Streaming(Reader):
    """Reads an endless body, and goes on after the last message it had when that ends."""

    media_type: str = "text/event-stream"

    def __post_init__(self) -> None:
        self.acknowledging = Client(self.client.address)
        self._taken: list[str] = []
        self._last = ""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._acknowledge)
            while True:
                try:
                    await self._stream()
                except CutError:
                    await self.client.cut()

    async def _stream(self) -> None:
        headers = {"Accept": self.media_type}
        if self._last:
            headers["Last-Event-ID"] = self._last
        stream = self.client.stream("GET", path_of(self.pipe), headers=headers)
        # What the stream's end and its beginning take is bounded as each of its silences is.
        with trio.move_on_after(SILENT_SECONDS) as patience:
            async with stream as (head, pieces):
                if head.status == 503:
                    await self.client.refused(head)
                elif head.status == 404 and self._last:
                    self._last = ""  # of a message that is not known any more
                elif head.status == 404:
                    await self.gone()
                elif head.status != 200:
                    self.ledger.violation("stream", f"{self.name}: {head.status}")
                    await trio.sleep(1)
                else:
                    framed = framing(head.headers["content-type"])
                    async with aclosing(framed(pieces)) as messages:
                        await self._read(messages, patience)
        if patience.cancelled_caught:
            await self.client.cut()

    async def _read(self, messages: Items, patience: trio.CancelScope) -> None:
        async for message in messages:
            patience.deadline = trio.current_time() + SILENT_SECONDS
            if message is not None:
                self.take(message)
                self._last = message["href"]
                self._taken.append(self._last)

    async def _acknowledge(self) -> None:
        while True:
            await trio.sleep(GATHER_SECONDS)
            taken, self._taken = self._taken, []
            if taken:
                await self.free(self.acknowledging, taken)


class OverWebSocket(Reader):
    """Reads and acknowledges over a WebSocket."""

    async def run(self) -> None:
        while True:
            try:
                stream = await trio.open_tcp_stream(*self.client.address)
            except OSError:
                await self.client.cut()
                continue
            try:
                await self._speak(stream, WSConnection(ConnectionType.CLIENT))
            except (CutError, OSError, trio.BrokenResourceError, ProtocolError):
                self.client.told["WebSocket cut"] += 1
                await self.client.cut()
            finally:
                await trio.aclose_forcefully(stream)

    async def _speak(self, stream: trio.SocketStream, socket: WSConnection) -> None:
        host, port = self.client.address
        request = Request(f"{host}:{port}", path_of(self.pipe), subprotocols=["restms.cbor"])
        await stream.send_all(socket.send(request))
        self._read = b""
        while True:
            data = None
            with trio.move_on_after(SILENT_SECONDS):
                data = await stream.receive_some(65536)
            if not data:
                raise CutError("the WebSocket is silent, or was cut")
            socket.receive_data(bytes(data))
            hrefs: list[str] = []
            for event in socket.events():
                if isinstance(event, BytesMessage):
                    hrefs += self._frame(event)
                elif isinstance(event, Ping):
                    await stream.send_all(socket.send(event.response()))
                elif not isinstance(event, AcceptConnection):
                    await self._ended(event)
                    return
            if hrefs:
                said = cbor2.dumps({"acknowledge": hrefs[-1]})
                await stream.send_all(socket.send(BytesMessage(said)))

    def _frame(self, event: BytesMessage) -> list[str]:
        self._read += bytes(event.data)
        if not event.message_finished:
            return []
        said, self._read = cbor2.loads(self._read), b""
        if "message" not in said:
            return []
        self.take(said["message"])
        return [said["message"]["href"]]

    async def _ended(self, event: Event) -> None:
        if isinstance(event, CloseConnection):
            self.client.told[f"WebSocket closed {event.code}"] += 1
        if isinstance(event, RejectConnection):
            await self._rejected(event)
        elif isinstance(event, CloseConnection) and event.code == 4404:
            await self.gone()
        else:
            await self.client.cut()

    async def _rejected(self, event: RejectConnection) -> None:
        if event.status_code == 404:
            await self.gone()
        elif event.status_code in (502, 503, 504):
            headers = {name.decode().lower(): value.decode() for name, value in event.headers}
            await self.client.refused(Answer(event.status_code, headers))
        else:
            self.ledger.violation("WebSocket", f"{self.name}: {event.status_code}")
            await trio.sleep(1)
