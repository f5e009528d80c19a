"""Entering a server: how a node finds out that it is another one, or has another history."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from restms_cluster import epochs
from restms_cluster.address import Address
from restms_cluster.connection import Connection
from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import DemotedError, Link
from restms_cluster.profiles import load_profiles
from restms_cluster.scripts import Library
from tests.servers import Server, start_replica, start_server

LIBRARY = Library(profile.lua for profile in load_profiles())
DOMAINS = ("default", "sales")
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "own").mkdir()
    server = start_server(tmp_path / "own", *DURABLE, tcp=True)
    yield server
    server.close()


async def moved(url: str, *domains: str) -> bool:
    """Enter by a new link; whether the numbers of a domain move."""
    async with await Link.open(Address.parse(url)) as link:
        return await epochs.enter(link, domains or DOMAINS, LIBRARY)


def floors(server: Server) -> list[int]:
    with server.client() as client:
        return [int(client.hget(f"restms:{{{name}}}", "floor") or 0) for name in DOMAINS]


async def test_another_process_is_another_run(own_server: Server) -> None:
    assert not await moved(own_server.url)
    assert not await moved(own_server.url)
    own_server.restart()
    assert await moved(own_server.url)
    assert not await moved(own_server.url)
    first = floors(own_server)
    assert all(first)
    own_server.stop()
    own_server.start()
    assert await moved(own_server.url), "nobody can tell that its data is all that it had"
    assert all(later > earlier for earlier, later in zip(first, floors(own_server), strict=True))


async def test_two_nodes_that_come_at_once_begin_one_epoch(own_server: Server) -> None:
    assert not await moved(own_server.url)
    own_server.restart()
    found: list[bool] = []

    async def enter() -> None:
        found.append(await moved(own_server.url, "default"))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(enter)
    assert sorted(found) == [False] * 7 + [True]


async def test_a_promoted_replica_is_another_run_and_one_that_follows_is_refused(
    own_server: Server, tmp_path: Path
) -> None:
    assert not await moved(own_server.url)
    (tmp_path / "replica").mkdir()
    replica = start_replica(tmp_path / "replica", own_server)
    try:
        with pytest.raises(DemotedError):
            await moved(replica.url)
        with replica.client() as client:
            client.replicaof("NO", "ONE")
        assert await moved(replica.url)
    finally:
        replica.close()


async def test_a_primary_that_was_a_replica_for_a_while_is_another_run(
    own_server: Server, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Its process is the same, and nobody entered the other one meanwhile."""
    (tmp_path / "other").mkdir()
    other = start_replica(tmp_path / "other", own_server)
    try:
        connection = Connection(Address.parse(own_server.url))
        await nursery.start(connection.run)
        await epochs.enter(connection, DOMAINS, LIBRARY)
        with own_server.client() as first, other.client() as second:
            first.set("restms:all", "")
            assert first.wait(1, 10_000) == 1
            second.replicaof("NO", "ONE")
            first.replicaof("127.0.0.1", str(other.port))
            with trio.fail_after(10):
                while first.info("replication")["master_link_status"] != "up":
                    await trio.sleep(0.01)
            first.replicaof("NO", "ONE")
        # The link has outlived it all.
        assert await epochs.enter(connection, DOMAINS, LIBRARY)
        assert connection.generation == 1
    finally:
        other.close()


async def test_a_server_that_does_not_tell_its_run_is_marked(own_server: Server) -> None:
    """A managed service, or a user with few rights."""

    def limit() -> str:
        with own_server.client() as client:
            client.execute_command("ACL SETUSER few on >secret ~* &* +@all -info")
        return own_server.url.replace("redis://", "redis://few:secret@")

    url = limit()
    assert not await moved(url)
    assert not await moved(url)
    own_server.restart()
    url = limit()
    assert await moved(url)
    assert not await moved(url)


async def test_a_server_that_refuses_the_script_cannot_be_used(own_server: Server) -> None:
    with own_server.client() as client:
        client.execute_command("ACL SETUSER none on >secret ~* &* +@all -@scripting")
    with pytest.raises(StateUnavailableError, match="refuses to be entered"):
        await moved(own_server.url.replace("redis://", "redis://none:secret@"))


async def test_a_full_server_can_be_entered(own_server: Server) -> None:
    assert not await moved(own_server.url)
    with own_server.client() as client:
        client.hset("restms:{default}", "run", "another")
        client.config_set("maxmemory", "1")
        assert await moved(own_server.url)
        client.config_set("maxmemory", "0")
