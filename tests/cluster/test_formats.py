"""Formats of the state: who may go on with which, and that nobody goes on with a newer one."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
import trio

from restms_cluster import epochs, formats
from restms_cluster.address import Address
from restms_cluster.calls import Calls
from restms_cluster.connection import Connection
from restms_cluster.errors import StartError, StateUnavailableError
from restms_cluster.formats import FORMAT, NewerFormatError
from restms_cluster.link import Link, LostError
from restms_cluster.profiles import load_profiles
from restms_cluster.scripts import Library
from tests.servers import Server, start_server
from tests.waiting import until

DOMAIN = "restms:{default}"
LIBRARY = Library(profile.lua for profile in load_profiles())
WRITERS = 20


class NextLibrary(Library):
    """The scripts of a next version, which renames a field of the domain."""

    def text(self, name: str) -> str:
        step = "[1] = function() redis.call('RENAMENX', domain .. ':old', domain .. ':new') end,\n}"
        return super().text(name).replace("function() end,\n}", f"function() end,\n{step}")


NEXT = NextLibrary(profile.lua for profile in load_profiles())


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    server = start_server(tmp_path, "--appendonly", "yes", tcp=True)
    yield server
    server.close()


@pytest.fixture
def client(own_server: Server) -> Iterator["redis.Redis[bytes]"]:
    with own_server.client() as one:
        yield one


async def enter(server: Server, library: Library = LIBRARY) -> None:
    async with await Link.open(Address.parse(server.url)) as link:
        await epochs.enter(link, ["default"], library)


async def test_a_new_domain_has_the_format_and_an_old_one_gets_it(
    own_server: Server, client: "redis.Redis[bytes]"
) -> None:
    await enter(own_server)
    assert int(client.hget(DOMAIN, "format")) == FORMAT
    client.hdel(DOMAIN, "format")
    async with await Link.open(Address.parse(own_server.url)) as other:
        await enter(own_server)
        assert int(client.hget(DOMAIN, "format")) == FORMAT
        await other.answers([("PING",)])  # what had no number shuts nobody out


async def test_every_older_format_has_its_step(
    own_server: Server, client: "redis.Redis[bytes]"
) -> None:
    for older in range(FORMAT):
        client.hset(DOMAIN, mapping={"format": older, "version": 1})
        await enter(own_server)
        assert int(client.hget(DOMAIN, "format")) == FORMAT


async def test_what_is_newer_is_left_as_it_is(
    own_server: Server, client: "redis.Redis[bytes]"
) -> None:
    newer = {b"format": b"%d" % (FORMAT + 1), b"run": b"another", b"version": b"1"}
    client.hset(DOMAIN, mapping=newer)
    with pytest.raises(NewerFormatError, match=f"format {FORMAT + 1}, of a newer version"):
        await enter(own_server)
    assert client.hgetall(DOMAIN) == newer


async def test_nothing_that_older_nodes_have_sent_is_done_after_the_step(
    own_server: Server, client: "redis.Redis[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """They write without a pause; each of their links is ended in the very step."""
    address = Address.parse(own_server.url)
    await enter(own_server)
    client.set(f"{DOMAIN}:old", 0)
    ended: list[int] = []

    async def write(link: Link) -> None:
        try:
            with trio.fail_after(10):
                while True:
                    await link.answers([("INCR", f"{DOMAIN}:old")] * 50)
        except LostError:
            ended.append(1)

    links = [await Link.open(address) for _ in range(WRITERS)]
    async with trio.open_nursery() as nursery:
        for link in links:
            nursery.start_soon(write, link)
        await until(lambda: int(client.get(f"{DOMAIN}:old") or 0) > 1000)
        monkeypatch.setattr(epochs, "FORMAT", 2)
        monkeypatch.setattr(formats, "FORMAT", 2)
        await enter(own_server, NEXT)
    for link in links:
        await link.aclose()
    assert sum(ended) == WRITERS
    assert int(client.hget(DOMAIN, "format")) == 2
    assert int(client.get(f"{DOMAIN}:new") or 0) > 1000
    assert client.get(f"{DOMAIN}:old") is None


async def test_a_connection_that_outlived_it_is_entered_anew_and_refused(
    own_server: Server, client: "redis.Redis[bytes]", nursery: trio.Nursery
) -> None:
    """A newer state was put under it, and no link was ended."""

    async def begin(calls: Calls) -> None:
        await epochs.enter(calls, ["default"], LIBRARY)

    make = partial(Connection, Address.parse(own_server.url), begin=begin, patience=0.1)
    connection = make()
    await nursery.start(connection.run)
    client.hset(DOMAIN, "format", FORMAT + 1)
    connection.leave()
    await until(lambda: not connection.connected)
    with pytest.raises(StateUnavailableError):
        await connection.call("INCR", f"{DOMAIN}:old")
    with pytest.raises(StartError, match="of a newer version"):
        await make().run()
    client.hset(DOMAIN, "format", FORMAT)
    await until(lambda: connection.connected)
    assert await connection.call("INCR", f"{DOMAIN}:old") == 1


@pytest.mark.parametrize("right", ["-multi", "-client|kill", "-exec"])
async def test_who_may_not_shut_others_out_changes_nothing(
    own_server: Server,
    client: "redis.Redis[bytes]",
    monkeypatch: pytest.MonkeyPatch,
    right: str,
) -> None:
    await enter(own_server)
    client.set(f"{DOMAIN}:old", 0)
    client.execute_command(f"ACL SETUSER few on >secret ~* &* +@all {right}")
    monkeypatch.setattr(epochs, "FORMAT", 2)
    monkeypatch.setattr(formats, "FORMAT", 2)
    url = own_server.url.replace("redis://", "redis://few:secret@")
    async with await Link.open(Address.parse(url)) as link:
        with pytest.raises(StateUnavailableError, match="refuses to let it be upgraded"):
            await epochs.enter(link, ["default"], NEXT)
    assert int(client.hget(DOMAIN, "format")) == 1
    assert client.get(f"{DOMAIN}:old") == b"0"
