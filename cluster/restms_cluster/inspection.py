"""Looking at what is in Redis without changing anything: servers, domains, and how to find them.

Every call is small and only reads, so a replica can be looked at as well. Where there is much to
go through, a walk goes in steps with pauses between them (`visits.py`). `docs/redis.md` tells
what the keys mean.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from restms_cluster.inspection_feeds import FeedSeen, see_feeds
from restms_cluster.inspection_pipes import PipeSeen, safe, see_pipes
from restms_cluster.keys import PREFIX, domain_key
from restms_cluster.names import is_domain
from restms_cluster.servers import Servers
from restms_cluster.visits import Visit, facts, hashes, number, pairs, seconds_of, text

LOOKED_AT = 1000  # keys in one step of a walk through all of them

_FIELDS = ("title", "version", "bytes", "base", "stored", "swept", "floor", "format")
_DOMAIN = re.compile(re.escape(PREFIX) + r"\{([^{}]+)\}")

Progress = Callable[[str], None]
"""Is told how far a long walk is, in words."""


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """A server as it describes itself. None: it does not tell, or not this user.

    `most_bytes` is 0 where nothing bounds its memory; `keys` are those of the database.
    """

    address: str
    name: str
    version: str
    mode: str
    role: str
    keys: int
    up_seconds: int | None = None
    used_bytes: int | None = None
    most_bytes: int | None = None
    eviction: str | None = None
    append_only: bool | None = None
    clients: int | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class DomainSeen:
    """A domain and what is in it. Times are seconds, None where there is nothing to tell.

    `messages` are in pipes, `queued` and `delayed` in public feeds; `works` are large
    fan-outs under way. `bytes` is what was measured last, and stored since. `lease` is the node
    that does the housekeeping, which was done `swept_seconds` ago. No number of a message is
    given out below `floor` (0: none was ever lost).
    """

    name: str
    server: str
    title: str
    feeds: int
    pipes: int
    messages: int
    oldest_seconds: float | None
    queued: int
    delayed: int
    works: int
    bytes: int | None
    format: int | None
    lease: str | None
    swept_seconds: float | None
    floor: int


class _Count:
    """Adds up what is in the pipes and feeds of a domain."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self.messages = self.queued = self.delayed = 0
        self.oldest: float | None = None
        self._seen = 0
        self._progress = progress

    def pipe(self, pipe: PipeSeen) -> None:
        self.messages += pipe.messages
        if pipe.oldest_seconds is not None:
            self.oldest = max(self.oldest or 0.0, pipe.oldest_seconds)
        self._seen += 1
        if self._seen % LOOKED_AT == 0:
            self._progress(self._seen)

    def feed(self, feed: FeedSeen) -> None:
        self.queued += feed.queued
        self.delayed += feed.delayed


async def see_server(visit: Visit) -> ServerSeen:
    """Return what a server says of itself. Raises StateUnavailableError."""
    hello, size = await visit.look(("HELLO",), ("DBSIZE",))
    said = pairs(hello)
    (info,) = await visit.ask(("INFO", "server", "clients", "memory", "persistence", "replication"))
    told = {} if isinstance(info, Exception) else facts(info)
    return ServerSeen(
        str(visit.address),
        told.get("server_name", said.get("server", "")),
        told.get("valkey_version", said.get("version", "")),
        said.get("mode", ""),
        {"master": "primary", "slave": "replica"}.get(said.get("role", ""), said.get("role", "")),
        number(size) or 0,
        number(told.get("uptime_in_seconds")),
        number(told.get("used_memory")),
        number(told.get("maxmemory")),
        told.get("maxmemory_policy"),
        told["aof_enabled"] == "1" if "aof_enabled" in told else None,
        number(told.get("connected_clients")),
        number(told.get("connected_slaves")),
    )


async def find_domains(visit: Visit, servers: Servers, progress: Progress) -> list[str]:
    """Find the domains on a server by a walk through all its keys, of which it tells few.

    Raises StateUnavailableError.
    """
    (size,) = await visit.look(("DBSIZE",))
    found: list[str] = []
    looked = 0
    async for page in hashes(visit, f"{PREFIX}{{*}}", LOOKED_AT):
        for name in page:
            domain = _DOMAIN.fullmatch(text(name))
            # A slot that is being moved may have keys on both sides.
            if domain and is_domain(domain[1]) and servers.has(domain[1]):
                found.append(domain[1])
        looked += LOOKED_AT
        progress(f"looking for domains: {looked:,} of about {number(size) or 0:,} keys")
    return sorted(found)


async def see_domain(visit: Visit, name: str, progress: Progress) -> DomainSeen | None:
    """Return a domain with all that is in it counted; None where there is no such domain.

    It walks through all pipes and public feeds. Raises StateUnavailableError.
    """
    key = domain_key(name)
    known, feeds, size, works, lease, clock = await visit.look(
        ("HMGET", key, *_FIELDS),
        ("ZCARD", f"{key}:feeds"),
        ("ZCARD", f"{key}:idle"),
        ("LLEN", f"{key}:works"),
        ("GET", f"{key}:lease"),
        ("TIME",),
    )
    state: dict[str, object] = dict(
        zip(_FIELDS, known if isinstance(known, list) else [], strict=False)
    )
    if state.get("version") is None:
        return None
    pipes = number(size) or 0
    count = _Count(lambda seen: progress(f"counting in {name}: {seen:,} of about {pipes:,} pipes"))
    await see_pipes(visit, name, count.pipe)
    await see_feeds(visit, name, count.feed)
    swept = number(state["swept"])
    return DomainSeen(
        name,
        str(visit.address),
        safe(text(state["title"])),
        number(feeds) or 0,
        pipes,
        count.messages,
        count.oldest,
        count.queued,
        count.delayed,
        number(works) or 0,
        _bytes(state),
        number(state["format"]),
        text(lease) or None,
        None if swept is None else round(max(0.0, seconds_of(clock) - swept / 1000), 3),
        number(state["floor"]) or 0,
    )


def _bytes(state: dict[str, object]) -> int | None:
    """Return the bytes as a domain's quota counts them (lib_quota.lua)."""
    measured = number(state["bytes"])
    if measured is None:
        return None
    return measured + (number(state["stored"]) or 0) - (number(state["base"]) or 0)
