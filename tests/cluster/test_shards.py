"""Domains that change from one server to another, and what is done before their calls run."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, closing

import pytest
import trio

from restms_cluster import shards as shards_module
from restms_cluster.address import Address
from restms_cluster.calls import Calls
from restms_cluster.errors import NotFoundError, StartError, StateUnavailableError
from restms_cluster.keys import domain_key
from restms_cluster.link import UndoneError
from restms_cluster.shard import Enter, Shard, enter_at_once
from restms_cluster.shards import Shards
from tests.servers import Server, start_server
from tests.waiting import until

AT_ONCE = 10.0


class Told:
    """A locator that says what a test tells it."""

    follows = True

    def __init__(self, places: Mapping[str, Address]) -> None:
        self.places = dict(places)

    async def locate(self) -> Mapping[str, Address]:
        return dict(self.places)

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with closing(start_server(tmp_path_factory.mktemp("second"))) as server:
        yield server


@pytest.fixture
def there(second_server: Server) -> Address:
    return Address.parse(second_server.url)


@asynccontextmanager
async def running(locator: Told, enter: Enter = enter_at_once) -> AsyncIterator[Shards]:
    arrivals: list[tuple[Shard, list[str]]] = []

    async def prepare(_: Shard) -> None:
        pass

    async def arrived(shard: Shard, domains: Collection[str]) -> None:
        arrivals.append((shard, list(domains)))

    def make(address: Address, domains: Collection[str], lost: object) -> Shard:
        return Shard(address, domains, "node", 5, enter, lost)

    shards = Shards(locator, make)
    async with trio.open_nursery() as nursery:
        await nursery.start(shards.run, prepare, arrived)
        yield shards
        nursery.cancel_scope.cancel()


async def test_each_domain_has_a_home(address: Address, there: Address) -> None:
    async with running(Told({"a": address, "b": there, "c": there})) as shards:
        assert shards.home("a").address == address
        assert shards.home("b") is shards.home("c")
        assert {frozenset(shard.domains) for shard in shards} == {
            frozenset("a"),
            frozenset("bc"),
        }
        with pytest.raises(NotFoundError):
            shards.home("d")


async def test_a_call_is_told_where_its_domain_has_gone(address: Address, there: Address) -> None:
    locator = Told({"a": address, "b": address})
    async with running(locator) as shards:
        left = shards.home("a")
        locator.places["a"] = there
        assert await shards.follow("a", left)
        assert shards.home("a").address == there
        assert shards.home("b") is left
        assert await left.connection.call("PING") == b"PONG"
        locator.places["b"] = there
        assert await shards.follow("b", left)
        # Nobody lives there any more.
        await until(lambda: not left.connection.connected)
        with pytest.raises(UndoneError):
            await left.connection.call("PING")


async def test_watchers_move_with_their_domain_and_with_no_other(
    address: Address, there: Address, second_server: Server, server: Server
) -> None:
    locator = Told({"a": address, "b": address})
    async with running(locator) as shards:
        one, two = domain_key("a"), domain_key("b")
        async with shards.watch(one) as moving, shards.watch(two) as staying:
            locator.places["a"] = there
            assert await shards.follow("a", shards.home("b"))
            assert await moving.wakeup(AT_ONCE)  # a hint may have been missed meanwhile
            with server.client() as here, second_server.client() as other:
                assert other.publish(one, "") == 1
                assert await moving.wakeup(AT_ONCE)
                assert here.publish(one, "") == 0
                assert here.publish(two, "") == 1
                assert await staying.wakeup(AT_ONCE)
        locator.places["a"] = address
        assert await shards.follow("a", shards.home("a"))
        async with shards.watch(one) as back:
            with server.client() as here:
                assert here.publish(one, "") == 1
            assert await back.wakeup(AT_ONCE)


async def test_enter_comes_before_all_calls_on_each_link(
    address: Address, there: Address, server: Server
) -> None:
    entered: list[tuple[str, list[str]]] = []

    async def enter(calls: Calls, domains: Collection[str]) -> None:
        name = await calls.call("CONFIG", "GET", "unixsocket")
        assert isinstance(name, list)
        await calls.call_many([("SET", f"entered:{domain}", 1) for domain in domains])
        entered.append((str(name[1]), sorted(domains)))

    here = str(address.path).encode()
    over_there = str(there.path).encode()
    locator = Told({"a": address, "b": address, "c": there})
    async with running(locator, enter) as shards:
        assert sorted(entered) == sorted([(str(here), ["a", "b"]), (str(over_there), ["c"])])
        # A domain that comes to a shard which is in use already.
        locator.places["a"] = there
        assert await shards.follow("a", shards.home("a"))
        assert entered.pop() == (str(over_there), ["a"])
        # Another connection to the same place.
        other = await shards.home("a").other("apart")
        assert await shards.home("a").other("apart") is other
        assert entered.pop() == (str(over_there), ["a", "c"])
        # The next link.
        connection = shards.home("b").connection
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        await connection.wait_generation(1)
        assert entered.pop() == (str(here), ["b"])


async def test_no_call_runs_where_enter_did_not_succeed(address: Address, server: Server) -> None:
    refuse = False

    async def enter(_: Calls, __: Collection[str]) -> None:
        if refuse:
            raise StateUnavailableError("Not yet.")

    async with running(Told({"a": address}), enter) as shards:
        connection = shards.home("a").connection
        refuse = True
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: not connection.connected)
        with pytest.raises(StateUnavailableError):
            await connection.call("PING")
        refuse = False
        with trio.fail_after(AT_ONCE):
            await connection.wait_generation(1)
        assert await connection.call("PING") == b"PONG"


async def test_a_shard_that_cannot_be_entered_leaves_the_domain_where_it_was(
    address: Address, there: Address
) -> None:
    refused, coming = trio.Event(), False

    async def enter(_: Calls, domains: Collection[str]) -> None:
        if coming and "a" in domains:
            refused.set()
            raise StateUnavailableError("Not here.")

    locator = Told({"a": address, "b": there})
    async with running(locator, enter) as shards:
        coming = True
        locator.places["a"] = there
        with trio.fail_after(AT_ONCE):
            await refused.wait()
        assert shards.home("a").address == address
        assert shards.home("b").domains == {"b"}


async def test_what_was_the_primary_is_left_though_the_next_is_not_ready(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take writes still that are lost; and it may be the primary again."""
    monkeypatch.setattr(shards_module, "FOLLOW_SECONDS", 0.3)
    locator = Told({"a": address})
    async with running(locator) as shards:
        left = shards.home("a")
        async with shards.watch(domain_key("a")) as watch:
            locator.places["a"] = Address("127.0.0.1", 1)
            assert not await shards.follow("a", left)
            with pytest.raises(UndoneError):
                await left.connection.call("PING")
            locator.places["a"] = address
            assert await shards.follow("a", left)
            assert await watch.wakeup(AT_ONCE)
            assert await shards.home("a").connection.call("PUBLISH", domain_key("a"), "") == 1
            assert await watch.wakeup(AT_ONCE)


async def test_it_does_not_start_where_a_place_is_not_there(address: Address) -> None:
    with pytest.RaisesGroup(StartError, flatten_subgroups=True):
        async with running(Told({"a": address, "b": Address("127.0.0.1", 1)})):
            pass
