"""What tests of the cluster's layer share: a real server, and a connection to it."""

from collections.abc import Iterator
from threading import Thread

import pytest
import trio
from fakeredis import TcpFakeServer

from restms_cluster.address import Address
from restms_cluster.connection import Connection
from tests.servers import Server, start_server


@pytest.fixture(scope="session")
def session_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_server(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture
def server(session_server: Server) -> Server:
    """The session's server, empty and with its own settings."""
    with session_server.client() as client:
        client.flushall()
        client.config_set("notify-keyspace-events", "")
    return session_server


@pytest.fixture
def address(server: Server) -> Address:
    return Address.parse(server.url)


@pytest.fixture
async def connection(address: Address, nursery: trio.Nursery) -> Connection:
    connection = Connection(address)
    await nursery.start(connection.run)
    return connection


@pytest.fixture
def fake() -> Iterator[Address]:
    """A Redis played by fakeredis in a thread: enough for protocol, order and cancellation."""
    with TcpFakeServer(("127.0.0.1", 0), server_type="valkey") as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Address.parse(f"redis://127.0.0.1:{server.server_address[1]}/1")
        server.shutdown()
        thread.join()
