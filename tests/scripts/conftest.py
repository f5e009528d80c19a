"""Scripts are tested one call at a time, on a real server."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from restms_cluster import blobs
from restms_cluster.model import Draft
from restms_cluster.scripts import Argument, Transition
from restms_cluster.transitions import (
    DomainConfigure,
    FeedCreate,
    JoinCreate,
    MessagePublish,
    PipeCreate,
    PipeRead,
)
from tests.leaks import BOUNDS, check_no_leaks, run
from tests.servers import Server, start_server

IDLE = 60_000
Run = Callable[[Transition], list[Any]]


@pytest.fixture(scope="session")
def scripts_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with closing(start_server(directory)) as server:
        yield server


def explore(machine: type[RuleBasedStateMachine], *, sequences: int, steps: int) -> None:
    """Try so many random sequences of a machine's rules, of up to so many steps."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.fixture
def client(scripts_server: Server) -> Iterator["redis.Redis[bytes]"]:
    connection = scripts_server.client()
    connection.flushall()
    run(
        connection,
        DomainConfigure("default", "Default domain", ("default", "", "Default feed", "", "", "")),
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


def joining(
    pipe: str,
    join: str,
    feed: str,
    address: str = "",
    match: str = "all",
    *,
    type: str = "",
    most: int = 2000,
    bounds: str = BOUNDS,
) -> JoinCreate:
    """The transition that makes a join."""
    return JoinCreate(
        "default", pipe, join, feed, type, address, match.encode(), match, most, IDLE, bounds
    )


Posted = tuple[str | bytes, ...]
"""A message: address, message_id, blob, and maybe contents, headers, terms."""

PLAIN = b"m"
"""Stands for the blob of a message that has only an address and a message_id."""


def stored(address: str, message_id: str) -> bytes:
    """The blob of a message that has only these."""
    return blobs.pack(Draft({"address": address, "message_id": message_id}))


def listed(do: Run, pipe: str, most: int = 1000) -> list[tuple[str, str]]:
    """The address and the message_id of each message that a pipe lists."""
    entries = do(PipeRead("default", pipe, most, IDLE))[6]
    numbers = [int(entry.partition(b"-")[0]) for entry, _, _ in entries]
    assert numbers == sorted(numbers)
    found = []
    for _, address, more in entries:
        if address is None:
            properties = blobs.unpack(more)[0]
            found.append((properties.get("address", ""), properties.get("message_id", "")))
        else:
            found.append((address.decode(), more.decode()))
    return found


def posting(
    feed: str,
    *messages: Posted,
    most: int = 100,
    queue: int = 100,
    deliveries: int = 10_000,
    once: str = "",
) -> MessagePublish:
    """The transition that publishes messages."""
    runs: list[Argument] = []
    for one in messages:
        address, message_id, blob, contents, headers, terms = (*one, *("",) * (6 - len(one)))
        if blob == PLAIN:
            blob = stored(str(address), str(message_id))
        runs += (address, contents, headers, terms, message_id, 1, blob)
    bounds, nonce = f"{most} {queue} 5", secrets.token_hex(8)
    return MessagePublish("default", feed, bounds, deliveries, nonce, once, 60_000, tuple(runs))


@pytest.fixture
def pipe(do: Run) -> Callable[..., str]:
    """Make a pipe and join it to feeds at addresses: pipe("a", news="oslo")."""

    def make(letter: str, **joins: str) -> str:
        name = secret(letter)
        do(PipeCreate("default", name, f"p{name}", secret("0" + letter), "", "", 100, IDLE))
        for feed, address in joins.items():
            do(FeedCreate("default", feed, "", "", "", "", "", 1000))
            join = secret(letter + feed.encode().hex())
            answer = do(joining(name, join, feed, address))
            assert answer[0] == "ok"
        return name

    return make
