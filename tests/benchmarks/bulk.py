"""Pipes and joins in great numbers, made by the product's own scripts behind the nodes' backs.

Over HTTP it would take minutes. Pipes have the numbers from 1 as their secrets.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import redis

from restms_cluster.model import Header
from restms_cluster.scripts import Argument, Transition
from restms_cluster.transitions import FeedCreate, JoinCreate, PipeCreate
from tests.leaks import LIBRARY

DOMAIN = "default"
DOMAIN_KEY = "restms:{default}"
IDLE = 86_400_000
BOUNDS = "100000 100000 5"
MOST = 10_000_000
CHUNK = 2000


def secret(number: int) -> str:
    return f"{number:032x}"


def pipe_key(number: int) -> str:
    return f"{DOMAIN_KEY}:pipe:{secret(number)}"


def command(transition: Transition) -> tuple[Argument, ...]:
    """How a script that a node has loaded is called."""
    return ("EVALSHA", LIBRARY.digest(transition.script()), *transition.arguments())


def run_all(client: "redis.Redis[bytes]", transitions: Iterable[Transition]) -> None:
    """Run scripts in order, many in one round trip; all must succeed."""
    left = iter(transitions)
    while some := list(islice(left, CHUNK)):
        pipeline: Any = client.pipeline(transaction=False)
        for transition in some:
            pipeline.execute_command(*command(transition))
        for word, *_ in pipeline.execute():
            if word != b"ok":
                raise RuntimeError(word)


def feed(name: str, kind: str) -> FeedCreate:
    return FeedCreate(DOMAIN, name, kind, "", "", "", "", 1000)


def pipes(count: int) -> Iterator[PipeCreate]:
    """So many pipes, each with its join on the feed `default`."""
    for number in range(1, count + 1):
        name = secret(number)
        yield PipeCreate(DOMAIN, name, f"p{name}", secret(MOST + number), "", "", MOST, IDLE)


def join(
    pipe: int, name: str, feed: str, address: str = "", match: str = "", headers: bytes = b""
) -> JoinCreate:
    """Join a pipe, by its number, to a feed; `name` is the join's secret."""
    return JoinCreate(
        DOMAIN, secret(pipe), name, feed, "", address, headers, match, MOST, IDLE, BOUNDS
    )


def headers(**values: str) -> tuple[Header, ...]:
    return tuple(Header(name, value) for name, value in values.items())
