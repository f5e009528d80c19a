"""Scripts are tested one call at a time, on a real server."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from restms_cluster.scripts import Transition
from restms_cluster.transitions import DomainConfigure, FeedCreate, JoinCreate, PipeCreate
from tests.leaks import check_no_leaks, run
from tests.servers import Server, start_server

IDLE = 60_000
Run = Callable[[Transition], list[Any]]


@pytest.fixture(scope="session")
def scripts_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with closing(start_server(directory)) as server:
        yield server


@pytest.fixture
def client(scripts_server: Server) -> Iterator["redis.Redis[bytes]"]:
    connection = scripts_server.client()
    connection.flushall()
    run(
        connection,
        DomainConfigure("default", "Default domain", ("default", "", "Default feed", "")),
    )
    yield connection
    check_no_leaks(connection)
    connection.close()


@pytest.fixture
def do(client: "redis.Redis[bytes]") -> Run:
    return lambda transition: run(client, transition)


def secret(letter: str) -> str:
    """A secret that a reader of a test can tell from another."""
    return (letter * 32)[:32]


@pytest.fixture
def pipe(do: Run) -> Callable[..., str]:
    """Make a pipe and join it to feeds at addresses: pipe("a", news="oslo")."""

    def make(letter: str, **joins: str) -> str:
        name = secret(letter)
        do(PipeCreate("default", name, f"p{name}", secret("0" + letter), "", "", 100, IDLE))
        for feed, address in joins.items():
            do(FeedCreate("default", feed, "", "", "", 1000))
            join = secret(letter + feed.encode().hex())
            answer = do(JoinCreate("default", name, join, feed, "", address, b"", 100, IDLE))
            assert answer[0] == "ok"
        return name

    return make
