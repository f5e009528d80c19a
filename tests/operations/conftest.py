"""Two brokers on one real server: what one does, the other sees."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, closing
from functools import partial

import pytest
import redis
import trio

from restms_cluster import contents, due, member, uploads
from restms_cluster.address import Address
from restms_cluster.broker import Broker
from restms_cluster.model import ConfiguredDomain, ConfiguredFeed, Limits
from restms_cluster.names import FeedName, Token
from tests.leaks import check_no_leaks
from tests.servers import Server, start_server

DEFAULT_FEED = ConfiguredFeed("default", "", "Default feed")
DOMAINS = (
    ConfiguredDomain("default", "Default domain", (DEFAULT_FEED,)),
    ConfiguredDomain("sales", "Sales", (DEFAULT_FEED, ConfiguredFeed("orders"))),
)
Joined = Callable[..., AbstractAsyncContextManager[Broker]]


async def stage(broker: Broker, feed: FeedName, kind: str, data: bytes, key: str = "") -> Token:
    """Stage a content that is at hand."""
    async with aclosing(uploads.whole(data)) as pieces:
        return await uploads.stage(broker, feed, kind, pieces, pause_seconds=30, key=key)


async def bytes_of(broker: Broker, token: Token, first: int = 0, last: int | None = None) -> bytes:
    """The bytes of a content, or those from `first` to `last`."""
    content = await contents.read(broker, token)
    async with aclosing(contents.pieces(broker, token, content, first, last)) as pieces:
        return b"".join([piece async for piece in pieces])


def round_trips(broker: Broker) -> int:
    """How often a broker has asked the server of the default domain something."""
    return broker.shards.home("default").connection.round_trips


@pytest.fixture(scope="session")
def operations_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with closing(start_server(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def client(operations_server: Server) -> Iterator["redis.Redis[bytes]"]:
    connection = operations_server.client()
    connection.flushall()
    connection.config_set("notify-keyspace-events", "Kt")
    yield connection
    check_no_leaks(connection, "default")
    connection.close()


@pytest.fixture
def joined(operations_server: Server, client: "redis.Redis[bytes]") -> Joined:
    """Join the cluster for the time of a block: `async with joined() as broker`."""

    @asynccontextmanager
    async def join(
        *, url: str = operations_server.url, sweep_seconds: float = 60, **limits: float
    ) -> AsyncIterator[Broker]:
        async with trio.open_nursery() as nursery:
            run = partial(
                member.run,
                Address.parse(url),
                DOMAINS,
                Limits(**limits),
                sweep_seconds=sweep_seconds,
                timeout_seconds=5,
            )
            yield await nursery.start(run)
            nursery.cancel_scope.cancel()

    return join


@pytest.fixture
def nothing_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no node look for what is due: it stays, and only what a test does is counted."""

    async def rest(_broker: Broker, _domain: str) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(due, "run", rest)


@pytest.fixture
async def broker(joined: Joined) -> AsyncIterator[Broker]:
    async with joined() as one:
        yield one


@pytest.fixture
async def other(joined: Joined) -> AsyncIterator[Broker]:
    async with joined() as another:
        yield another
