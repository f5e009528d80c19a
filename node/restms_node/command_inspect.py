"""`restms inspect`: what is in Redis, for whoever operates the broker. It only reads."""

import argparse
import heapq
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

from restms_cluster.errors import NotFoundError, StartError
from restms_cluster.inspection import DomainSeen, ServerSeen, find_domains, see_domain, see_server
from restms_cluster.inspection_feeds import FeedSeen, see_feeds, see_private_feeds
from restms_cluster.inspection_pipes import JoinSeen, PipeSeen, see_pipe, see_pipes
from restms_cluster.names import Kind, Token, is_domain
from restms_cluster.servers import Servers, find_servers
from restms_cluster.topology import Topology
from restms_cluster.visits import Visit, visiting
from restms_node import operating
from restms_node.config import Settings
from restms_node.inspect_tables import of_feeds, of_overview, of_pipe, of_pipes

COMMAND = "inspect"
OVERVIEW, FEEDS, PIPES, PIPE = "overview", "feeds", "pipes", "pipe"
LIMIT = 20
MOST = 100_000

T = TypeVar("T", FeedSeen, PipeSeen)

_ORDER: dict[str, Callable[[Any], float]] = {
    "depth": lambda pipe: pipe.messages,
    "age": lambda pipe: -1.0 if pipe.oldest_seconds is None else pipe.oldest_seconds,
}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        COMMAND,
        help="look at what is in Redis",
        description="Show servers and domains (overview), feeds, or pipes; or the one pipe whose "
        "URI is a line of standard input (pipe). Nothing is changed, and nothing is shown that "
        "could be used to read messages. Much is walked through in small steps with pauses.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="?",
        default=OVERVIEW,
        choices=(OVERVIEW, FEEDS, PIPES, PIPE),
        help="overview (the default), feeds, pipes, or pipe",
    )
    parser.add_argument("domain", metavar="DOMAIN", nargs="?", help="only this domain")
    operating.add_redis(parser)
    parser.add_argument(
        "--walk",
        action="store_true",
        help="look for domains among all keys, and not only for those of the TOML file",
    )
    parser.add_argument(
        "--private", action="store_true", help="show private feeds too: a walk through all keys"
    )
    parser.add_argument(
        "--sort",
        choices=tuple(_ORDER),
        default="depth",
        help="which pipes come first: those with most messages (depth), or with the oldest (age)",
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=_limit,
        default=LIMIT,
        help=f"show so many feeds or pipes at most, 0 for {MOST:,} (default: {LIMIT})",
    )
    parser.add_argument(
        "--file", metavar="FILE", type=Path, help="read the pipe's URI from here (pipe)"
    )


def run(given: dict[str, Any]) -> int:
    """Run the command. Raises StartError."""
    settings, topology = operating.settings_of(given)
    domain = given["domain"]
    if domain is not None and not is_domain(domain):
        raise StartError("That is no name of a domain.")
    walks = given["walk"] or not operating.has_file(given)
    look = _Look(settings, topology, domain, walks=walks)
    match given["what"]:
        case "feeds":
            work = partial(_feeds, look, given["limit"], private=given["private"])
        case "pipes":
            work = partial(_pipes, look, given["limit"], given["sort"])
        case "pipe":
            work = partial(_pipe, look, _asked_for(given["file"]))
        case _:
            work = partial(_overview, look)
    try:
        told, lines = operating.finish(work)
    finally:
        look.progress("")
    with operating.output():
        print(json.dumps(told, indent=2) if given["json"] else lines)  # noqa: T201
    return 0


class _Ranked(Generic[T]):
    """Keeps those with the largest keys, of any number, and counts the others."""

    def __init__(self, limit: int, key: Callable[[T], float]) -> None:
        self._limit = limit
        self._key: Callable[[T], float] = key
        self._kept: list[tuple[float, int, T]] = []
        self._turns = count(0, -1)  # of those alike, the first stay
        self._seen = 0

    def add(self, one: T) -> int:
        """Take one in; return how many there were."""
        entry = (self._key(one), next(self._turns), one)
        if len(self._kept) < self._limit:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)
        self._seen += 1
        return self._seen

    @property
    def first(self) -> list[T]:
        """Those that were kept, in order."""
        return [one for _, _, one in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)]

    @property
    def more(self) -> int:
        """How many others there are."""
        return self._seen - len(self._kept)

    def json(self, name: str) -> Mapping[str, object]:
        """Return them as they are printed for programs."""
        return {name: [asdict(one) for one in self.first], "more": self.more}


class _Look:
    """Which servers and domains are looked at."""

    def __init__(
        self, settings: Settings, topology: Topology, domain: str | None, *, walks: bool
    ) -> None:
        self.progress = operating.progress()
        self._settings = settings
        self._topology = topology
        self._domain = domain
        self._walks = walks

    async def servers(self, see: Callable[[Visit, Servers], Awaitable[None]]) -> None:
        """Go from primary to primary. Raises StateUnavailableError."""
        seconds = self._settings.redis_timeout_seconds
        for servers in await find_servers(self._topology):
            if self._domain is None or servers.has(self._domain):
                async with visiting(servers.primary, seconds) as visit:
                    await see(visit, servers)

    async def domains(self, see: Callable[[Visit, str], Awaitable[None]]) -> None:
        """Go from domain to domain, wherever they live. Raises StateUnavailableError."""

        async def on(visit: Visit, servers: Servers) -> None:
            for name in await self.on(visit, servers):
                await see(visit, name)

        await self.servers(on)

    async def on(self, visit: Visit, servers: Servers) -> list[str]:
        """Return the domains that are meant, of one server."""
        if self._domain is not None:
            return [self._domain]
        if self._walks:
            return await find_domains(visit, servers, self.progress)
        return [domain.name for domain in self._settings.domains if servers.has(domain.name)]


Result = tuple[Mapping[str, object], str]
"""What is printed as JSON, and what for people."""


async def _overview(look: _Look) -> Result:
    servers: list[ServerSeen] = []
    domains: list[DomainSeen] = []

    async def see(visit: Visit, here: Servers) -> None:
        servers.append(await see_server(visit))
        for name in await look.on(visit, here):
            domain = await see_domain(visit, name, look.progress)
            if domain is not None:
                domains.append(domain)

    await look.servers(see)
    domains.sort(key=lambda domain: domain.name)
    told = {
        "servers": [asdict(server) for server in servers],
        "domains": [asdict(domain) for domain in domains],
    }
    return told, of_overview(servers, domains)


async def _feeds(look: _Look, limit: int, *, private: bool) -> Result:
    ranked: _Ranked[FeedSeen] = _Ranked(limit, lambda feed: feed.queued + feed.delayed)

    async def see(visit: Visit, domain: str) -> None:
        await see_feeds(visit, domain, ranked.add)
        if private:
            await see_private_feeds(visit, domain, ranked.add, partial(_walked, look))

    await look.domains(see)
    return ranked.json("feeds"), of_feeds(ranked.first, ranked.more)


async def _pipes(look: _Look, limit: int, order: str) -> Result:
    ranked: _Ranked[PipeSeen] = _Ranked(limit, _ORDER[order])

    def take(pipe: PipeSeen) -> None:
        seen = ranked.add(pipe)
        if seen % 1000 == 0:
            look.progress(f"looking at pipes: {seen:,} so far")

    async def see(visit: Visit, domain: str) -> None:
        await see_pipes(visit, domain, take)

    await look.domains(see)
    return ranked.json("pipes"), of_pipes(ranked.first, ranked.more)


async def _pipe(look: _Look, token: Token) -> Result:
    found: list[tuple[PipeSeen, tuple[JoinSeen, ...]]] = []

    async def see(visit: Visit, here: Servers) -> None:
        seen = await see_pipe(visit, token) if here.has(token.domain) else None
        if seen is not None:
            found.append(seen)

    await look.servers(see)
    if not found:
        raise NotFoundError("There is no such pipe (any more).")
    pipe, joins = found[0]
    told = {"pipe": asdict(pipe), "joins": [asdict(join) for join in joins]}
    return told, of_pipe(pipe, joins)


def _walked(look: _Look, keys: int) -> None:
    look.progress(f"looking for private feeds: {keys:,} keys so far")


def _asked_for(path: Path | None) -> Token:
    """Read which pipe is meant: the URI of it or of one of its messages. Raises StartError."""
    uri = operating.read_line(path, "The pipe's URI: ")
    try:
        token = Token.parse(uri.rpartition("/")[2])
    except NotFoundError:
        token = None
    if token is None or token.kind is not Kind.PIPE:
        # It is not shown, for it may be a good one but for a slip.
        raise StartError("That is not the URI of a pipe, on one line.")
    return token.pipe()


def _limit(given: str) -> int:
    limit = int(given) if given.isascii() and given.isdecimal() else -1
    if not 0 <= limit <= MOST:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 0 to {MOST:,}")
    return limit or MOST
