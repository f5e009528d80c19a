"""What Redis works for a node's calls, by how many travel in one: sent to it without any node.

As many connections as there might be nodes each have one command under way, or one
connection has many. So Redis always has something to do, as where it is what bounds the rest.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hiredis import Reader

from restms_cluster.link import pack
from restms_cluster.scripts import Argument, Grouped
from restms_cluster.transitions import (
    TRANSITIONS,
    DomainConfigure,
    MessageDelete,
    MessagePublish,
    MessageRead,
)
from tests.benchmarks import bulk
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.scaling.meter import reading
from tests.benchmarks.scaling.samples import Sample
from tests.benchmarks.scaling.work import DURABLE
from tests.leaks import LIBRARY
from tests.servers import Server, start_server

PIPES = 4096
BLOB = b"\xa1gcontent\x81\xa2dtypejtext/plainevaluexd" + b"x" * 100
ROOMY = "100000000 100000 5"
CALLS = 2048  # in a sample
GROUPS = (1, 2, 4, 8, 16, 64)
CONNECTIONS = (1, 8, 32)
EMBED = 65536


def published(pipe: int) -> MessagePublish:
    name = f"p{bulk.secret(pipe)}"
    run = (name, "", "", "", "", 1, BLOB)
    return MessagePublish(bulk.DOMAIN, "default", ROOMY, 1_000_000, "n", "", 1000, run)


def read(pipe: int, number: int) -> MessageRead:
    return MessageRead(bulk.DOMAIN, bulk.secret(pipe), number, EMBED, bulk.IDLE)


def acknowledged(pipe: int, number: int) -> MessageDelete:
    return MessageDelete(bulk.DOMAIN, bulk.secret(pipe), number, "", "", bulk.IDLE)


def together(calls: Sequence[Grouped]) -> bytes:
    """One command for calls of one script."""
    arguments: list[Argument] = [argument for call in calls for argument in call.call()]
    first = calls[0]
    return pack("EVALSHA", LIBRARY.digest(first.script()), *first.head(), *arguments)


def take_reply(reader: Reader, waiting: bytearray) -> bytes | None:
    """Take a reply of Redis off what was read."""
    if waiting:
        reader.feed(bytes(waiting))
        waiting.clear()
    reply = reader.gets()
    if reply is False:
        return None
    if isinstance(reply, Exception) or reply[0][0] not in (b"ok", b"next"):
        raise RuntimeError(reply)
    return b"+"


class Asked:
    """A server with pipes that is asked as nodes would ask it."""

    def __init__(self, server: Server) -> None:
        self._port = server.port
        self._client: Any = server.client()
        for stub in TRANSITIONS:
            self._client.script_load(LIBRARY.text(stub.script()))
        feed = ("default", "", "", "", "", "")
        bulk.run_all(self._client, [DomainConfigure(bulk.DOMAIN, "", feed)])
        bulk.run_all(self._client, bulk.pipes(PIPES))
        self._rounds = 0

    def close(self) -> None:
        self._client.close()

    def samples(self, group: int, connections: int) -> Iterator[Sample]:
        """Publish, read, acknowledge, and look for what has not come, so many in a call."""
        self._rounds += 1
        number = self._rounds
        pipes = range(1, CALLS + 1)
        kinds: dict[str, Sequence[Grouped]] = {
            "publish": [published(pipe) for pipe in pipes],
            "read": [read(pipe, number) for pipe in pipes],
            "acknowledge": [acknowledged(pipe, number) for pipe in pipes],
            "look": [read(pipe, number + 1) for pipe in pipes],
        }
        for name, calls in kinds.items():
            commands = [together(calls[n : n + group]) for n in range(0, CALLS, group)]
            before = reading(self._client)
            self._ask(commands, connections)
            done = {name: float(CALLS)}
            yield Sample(name, 0, connections, 1, done, reading(self._client) - before)

    def _ask(self, commands: Sequence[bytes], connections: int) -> None:
        """Send the commands; each connection has one under way."""
        left = iter(commands)

        def talk() -> Conversation:
            for command in left:  # noqa: UP028, for no iterator can be sent answers
                yield command

        with Clients() as clients:
            for _ in range(connections):
                reader = Reader(notEnoughData=False)
                link = socket.create_connection(("127.0.0.1", self._port))
                clients.adopt(link, partial(take_reply, reader))
            clients.run([talk() for _ in range(connections)])


def samples() -> Iterator[Sample]:
    """Measure calls in groups of all sizes, over few connections and over many."""
    with (
        TemporaryDirectory() as directory,
        closing(start_server(Path(directory), *DURABLE, tcp=True)) as server,
        closing(Asked(server)) as asked,
    ):
        for group in GROUPS:
            for connections in CONNECTIONS:
                yield from asked.samples(group, connections)
