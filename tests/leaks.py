"""Nothing may stay in Redis that nobody will free: checked after every test of the state."""

import hashlib
from functools import cache
from typing import Any

import redis
from redis.exceptions import NoScriptError

from restms_cluster.keys import KEYS
from restms_cluster.profiles import load_profiles
from restms_cluster.scripts import Grouped, Library, Transition
from restms_cluster.transitions import (
    DomainDue,
    DomainSweep,
    FeedDelete,
    MessagePublish,
    PipeDelete,
)

LIBRARY = Library(profile.lua for profile in load_profiles())
BOUNDS = "100 100 5"  # messages of a pipe, of a feed's queue, redeliveries
STAYS = (":feeds", ":feed:default", "")


def run(client: "redis.Redis[bytes]", transition: Transition) -> list[Any]:
    """Run a script through redis-py; its word as text, the rest as Redis sent it."""
    return run_text(client, LIBRARY.text(transition.script()), transition)


def run_text(client: "redis.Redis[bytes]", text: str, transition: Transition) -> list[Any]:
    """Run another text of a transition's script.

    By its digest, as nodes do: to send and hash a script takes longer than most need to run.
    """
    arguments = transition.arguments()
    try:
        reply = client.evalsha(_digest(text), *arguments)
    except NoScriptError:
        reply = client.eval(text, *arguments)
    return told(transition, reply)


@cache
def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def told(transition: Transition, reply: list[Any]) -> list[Any]:
    """A script's answer to one call; what became of messages alike is said for each of them."""
    word, *values = reply[0] if isinstance(transition, Grouped) else reply
    if isinstance(transition, MessagePublish) and values:
        counted, *alike = values
        values = [counted]
        for messages, count, full in zip(alike[::3], alike[1::3], alike[2::3], strict=True):
            values += [count, full] * messages
    return [word.decode(), *values]


def check_keys(client: "redis.Redis[bytes]") -> None:
    """Every key stands in the table of keys, with the type that it has there."""
    for name in client.scan_iter(count=1000):
        text = name.decode()
        kind = client.type(name).decode()
        gone = kind == "none"  # since it was listed
        assert gone or any(key.pattern.fullmatch(text) and key.type == kind for key in KEYS), (
            f"{text} ({kind}) is not in the table of keys"
        )


def check_no_leaks(client: "redis.Redis[bytes]", *domains: str) -> None:
    """When all that clients made is deleted, nothing of it remains but what expires."""
    check_keys(client)
    for domain in domains or ("default",):
        prefix = f"restms:{{{domain}}}"
        for name in client.scan_iter(f"{prefix}:pipe:*", count=1000):
            if client.type(name) == b"hash" and name.count(b":") == prefix.count(":") + 2:
                run(client, PipeDelete(domain, name.decode().rpartition(":")[2], "", "", BOUNDS))
        for name in client.scan_iter(f"{prefix}:feed:*", count=1000):
            run(client, FeedDelete(domain, name.decode().rpartition(":")[2], "", "", BOUNDS))
        left = kept(client, domain)
        assert not left, f"left behind for ever: {left}"


def kept(client: "redis.Redis[bytes]", domain: str) -> list[bytes]:
    """What would stay for ever, after all housekeeping, of what clients made in a domain."""
    prefix = f"restms:{{{domain}}}"
    # Contents that nobody published, and what came of uploads, wait for their time.
    for content in client.zrange(f"{prefix}:loose", 0, -1):
        client.zadd(f"{prefix}:loose", {content: 0})
    client.delete(f"{prefix}:lease")
    while run(client, DomainDue(domain, "leaks", BOUNDS))[0] == "more":
        pass
    while run(client, DomainSweep(domain, "leaks", 1000, 100, 60_000, BOUNDS))[0] == "more":
        pass
    return [
        name
        for name in client.scan_iter(f"{prefix}*", count=1000)
        if client.ttl(name) == -1 and name.decode().removeprefix(prefix) not in STAYS
    ]
