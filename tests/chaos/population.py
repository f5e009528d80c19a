"""Who publishes and who reads in a run: every kind of feed, and every way to do both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from tests.chaos.client import Client
from tests.chaos.ledger import Ledger
from tests.chaos.publishers import Publisher, Repeats, Route, Streamer
from tests.chaos.readers import (
    InBatches,
    OneByOne,
    OverWebSocket,
    Reader,
    Streaming,
    path_of,
    read_in_turn,
)
from tests.conformance.documents import CBOR, JSON, XML, Element, restms

DOMAIN = "/restms/domain/default"
DEDUP = {"dedup": "3600"}
CROWD_SHARE = 0.03  # of what others publish: each is a message for hundreds
SSE, MULTIPART, SEQUENCE = "text/event-stream", "multipart/mixed", "application/cbor-seq"


@dataclass
class Population:
    """Those who publish and those who read, once `made` has made what they need."""

    address: tuple[str, int]
    ledger: Ledger
    seed: int
    crowd: int = 0
    publishers: list[Publisher] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    in_turn: list[InBatches] = field(default_factory=list)

    async def settle(self) -> None:
        """Make the feeds, pipes and joins, and those who use them."""
        self._client = Client(self.address)
        alone = await self._reader(OneByOne, "default/one by one", format=XML)
        self._publisher(
            "default", "", Publisher, XML, Repeats.KEY, [Route(_to(alone), name_of(alone.pipe))]
        )

        fanout = await self._feed("fanout", "fanout", **DEDUP)
        everybody = [
            await self._reader(OneByOne, "fanout/one by one", fanout, format=JSON),
            await self._reader(InBatches, "fanout/batches", fanout, format=CBOR),
            await self._reader(Streaming, "fanout/events", fanout, media_type=SSE),
            await self._reader(OverWebSocket, "fanout/WebSocket", fanout),
        ]
        to_all = [Route(_to(*everybody))]
        self._publisher("fanout", fanout, Publisher, JSON, Repeats.MESSAGE_ID, to_all)
        self._publisher(
            "fanout-stream", fanout, Streamer, CBOR, Repeats.MESSAGE_ID, to_all, size=20
        )

        direct = await self._feed("direct", "direct")
        west = await self._reader(Streaming, "direct/multipart", direct, "w", media_type=MULTIPART)
        east = await self._reader(Streaming, "direct/sequence", direct, "e", media_type=SEQUENCE)
        ways = [Route(_to(west), "w"), Route(_to(east), "e")]
        self._publisher("direct", direct, Publisher, CBOR, Repeats.KEY, ways)

        topic = await self._feed("topic", "topic", **DEDUP)
        sports = await self._reader(Streaming, "topic/events", topic, "news.*", media_type=SSE)
        news = await self._reader(InBatches, "topic/batches", topic, "#", format=XML)
        themes = [Route(_to(sports, news), "news.sports"), Route(_to(news), "weather")]
        self._publisher("topic", topic, Publisher, JSON, Repeats.MESSAGE_ID, themes, size=10)

        headers = await self._feed("headers", "headers")
        header = {"header": [{"name": "colour", "value": "red"}]}
        red = await self._reader(OneByOne, "headers/one by one", headers, join=header)
        any_colour = await self._reader(OverWebSocket, "headers/WebSocket", headers)
        colours = [
            Route(_to(red, any_colour), header=(("colour", "red"),)),
            Route(_to(any_colour), header=(("colour", "blue"),)),
        ]
        self._publisher("headers", headers, Publisher, XML, Repeats.NOTHING, colours)

        rotator = await self._feed("rotator", "rotator", **DEDUP)
        pipes = [
            await self._reader(OneByOne, "rotator/one by one", rotator, format=XML),
            await self._reader(InBatches, "rotator/batches", rotator),
        ]
        shared = [Route(_to(*pipes))]
        self._publisher("rotator", rotator, Publisher, CBOR, Repeats.MESSAGE_ID, shared, one=True)

        service = await self._feed("service", "service")
        workers = [
            await self._reader(OneByOne, "service/worker 1", service, type="ondemand", format=CBOR),
            await self._reader(OneByOne, "service/worker 2", service, type="ondemand", format=XML),
            await self._reader(Streaming, "service/sequence", service, media_type=SEQUENCE),
        ]
        served = [Route(_to(*workers))]
        how = {"one": True, "ordered": False, "size": 5}
        self._publisher("service", service, Publisher, XML, Repeats.KEY, served, **how)

        if self.crowd:
            await self._settle_crowd()

    async def _settle_crowd(self) -> None:
        """Have so many pipes on one feed that each message for them is handed out in chunks."""
        feed = await self._feed("crowd", "fanout", **DEDUP)
        client = Client(self.address)
        for number in range(1, self.crowd + 1):
            pipe = await self._pipe(feed)
            name = f"crowd/{number}"
            reader = InBatches(name, pipe, client, self.ledger, format=CBOR, waits=False)
            self.in_turn.append(reader)
        self.readers += self.in_turn
        route = Route(_to(*self.in_turn))
        how = {"share": CROWD_SHARE}
        self._publisher("crowd", feed, Publisher, CBOR, Repeats.MESSAGE_ID, [route], **how)

    def start(self, nursery: trio.Nursery) -> None:
        """Have everybody read."""
        for reader in self.readers:
            if reader not in self.in_turn:
                nursery.start_soon(reader.run)
        if self.in_turn:
            nursery.start_soon(read_in_turn, self.in_turn)

    async def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            await client.close()

    @property
    def clients(self) -> list[Client]:
        theirs = [one.client for one in (*self.publishers, *self.readers)]
        acknowledging = [one.acknowledging for one in self.readers if isinstance(one, Streaming)]
        return [self._client, *theirs, *acknowledging]

    async def drained(self) -> bool:
        """Tell whether every pipe lists nothing but its asynclet."""
        for reader in self.readers:
            if reader.type != "ondemand":
                listed = await reader.listed(self._client)
                if [each.get("async") for each in listed] != ["1"]:
                    return False
        return True

    async def _feed(self, name: str, type: str, **more: str) -> str:
        feed = {"name": f"chaos-{name}", "type": type, **more}
        return await self._make(DOMAIN, restms(feed=[feed]))

    async def _reader(
        self,
        kind: type[Reader],
        name: str,
        feed: str = "",
        address: str = "",
        *,
        type: str = "",
        join: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> Reader:
        pipe = await self._pipe(feed, type, address=address, **(join or {}))
        made = kind(name, pipe, Client(self.address), self.ledger, type=type, **how)
        self.readers.append(made)
        return made

    async def _pipe(self, feed: str, type: str = "", **join: Any) -> str:
        pipe = await self._make(DOMAIN, restms(pipe=[{"type": type}]))
        if feed:
            element: Element = {"feed": feed, **join}
            await self._make(pipe, restms(join=[element]))
        return pipe

    def _publisher(
        self,
        name: str,
        feed: str,
        kind: type[Publisher],
        format: Any,
        repeats: Repeats,
        routes: Sequence[Route],
        **how: Any,
    ) -> None:
        client, random = Client(self.address), Random(f"{self.seed} {name}")
        path = path_of(feed) if feed else "/restms/feed/default"
        self.publishers.append(
            kind(name, path, routes, format, repeats, client, self.ledger, random, **how)
        )

    async def _make(self, uri: str, document: Element) -> str:
        headers = {"Content-Type": JSON.media_type, "Accept": JSON.media_type}
        answer = await self._client.insist("POST", path_of(uri), JSON.write(document), headers)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{uri}: {answer.status} {answer.body.decode()}")
        return answer.headers["location"]


def name_of(pipe: str) -> str:
    return pipe.rpartition("/")[2]


def _to(*readers: Reader) -> frozenset[str]:
    return frozenset(reader.name for reader in readers)
