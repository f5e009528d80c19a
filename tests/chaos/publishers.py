"""Those who publish: each numbers its messages, and repeats what was not answered."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

import cbor2
import trio

from tests.chaos.client import Answer, Client, CutError
from tests.chaos.ledger import Ledger, identity, text_of
from tests.conformance.documents import CBOR, Element, Format, message, restms, text

STREAM = "application/cbor-seq"


class Repeats(Enum):
    """What makes a repeat safe."""

    MESSAGE_ID = "the feed's dedup"
    KEY = "an Idempotency-Key"
    NOTHING = "nothing: it may come twice"


@dataclass(frozen=True)
class Route:
    """A kind of message, and the pipes that must get it."""

    to: frozenset[str]
    address: str = ""
    header: tuple[tuple[str, str], ...] = ()


@dataclass
class Publisher:
    """Publishes `size` messages in each request.

    `one` tells that one of those of a route gets a message, not all; `ordered` is false where
    a message may be left for a reader who has gone, and so come after newer ones.
    """

    name: str
    feed: str
    routes: Sequence[Route]
    format: Format
    repeats: Repeats
    client: Client
    ledger: Ledger
    random: Random
    one: bool = False
    ordered: bool = True
    size: int = 1
    share: float = 1.0
    sent: int = field(default=0, init=False)

    async def run(self, rate: float, ending: trio.Event) -> None:
        """Publish so many messages a second at most (`share` of them), until told to end."""
        while not ending.is_set():
            await self.publish()
            await trio.sleep(self.size / self.share / rate * self.random.uniform(0.5, 1.5))

    async def publish(self) -> None:
        """Publish the next messages, until they are answered."""
        numbers = range(self.sent + 1, self.sent + 1 + self.size)
        self.sent += self.size
        await self._insist(numbers)

    async def _insist(self, numbers: range) -> None:
        body = self.format.write(restms(message=[self._message(n) for n in numbers]))
        headers = {"Content-Type": self.format.media_type, "Accept": self.format.media_type}
        if self.repeats is Repeats.KEY:
            headers["Idempotency-Key"] = identity(self.name, numbers[0])
        while True:
            self._publishes(numbers)
            try:
                answer = await self.client.ask("POST", self.feed, body, headers)
            except CutError:
                await self.client.cut()
                continue
            if answer.status == 503:
                await self.client.refused(answer)
                continue
            self._answered(numbers, answer)
            return

    def _answered(self, numbers: range, answer: Answer) -> None:
        if answer.status != 200:
            for number in numbers:
                self._refused(number, f"{answer.status} {answer.body.decode()[:200]}")
            return
        counts = ["1"] * len(numbers)
        if answer.body:
            told = self.format.read(answer.body)["restms"].get("message", [])
            counts = [each["count"] for each in told]
        for number, count in zip(numbers, counts, strict=True):
            self.ledger.acknowledged(identity(self.name, number), routed=count != "0")

    def _publishes(self, numbers: range) -> None:
        for number in numbers:
            self.ledger.publishes(
                identity(self.name, number),
                self._route(number).to,
                one=self.one,
                exact=self.repeats is not Repeats.NOTHING,
                ordered=self.ordered,
            )

    def _refused(self, number: int, why: str) -> None:
        name = identity(self.name, number)
        self.ledger.refused(name, why)
        self.ledger.violation("refused", f"{name}: {why}")

    def _route(self, number: int) -> Route:
        return self.routes[number % len(self.routes)]

    def _message(self, number: int) -> Element:
        name, route = identity(self.name, number), self._route(number)
        more: Mapping[str, Any] = {"header": route.header} if route.header else {}
        return message(route.address, text(text_of(name)), message_id=name, **more)


class Streamer(Publisher):
    """Publishes many messages in one endless request: a CBOR sequence."""

    async def _insist(self, numbers: range) -> None:
        while numbers:
            self._publishes(numbers)
            headers = {"Content-Type": STREAM, "Accept": CBOR.media_type}
            try:
                async with aclosing(self._items(numbers)) as items:
                    answer = await self.client.ask("POST", self.feed, items, headers)
            except CutError:  # at least as many are in as was told: none
                await self.client.cut()
                continue
            # Of a stream that another than a node has answered, nothing is known to be in.
            routed = int(answer.headers.get("restms-routed", "0"))
            for number in numbers[:routed]:
                self.ledger.acknowledged(identity(self.name, number))
            numbers = numbers[routed:]
            if answer.status == 503:
                await self.client.refused(answer)
            elif answer.status != 200:
                for number in numbers:
                    self._refused(number, f"{answer.status} {answer.body.decode()[:200]}")
                return
            elif numbers:
                self._refused(numbers[0], "200 though not all of the stream was routed")
                return

    async def _items(self, numbers: range) -> AsyncGenerator[bytes]:
        for number in numbers:
            yield cbor2.dumps(self._message(number))
            await trio.sleep(self.random.uniform(0, 0.01))
