"""A checkup: is Redis, wherever it is, set up as the nodes need it?

Each server is visited, replicas as well, for they are to take over. Nothing is changed, and
nothing is written but a probe that expires.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import TypeAlias

import trio

from restms_cluster import checkup_keeping, checkup_serving
from restms_cluster.address import Address
from restms_cluster.checkup_hints import check_hints
from restms_cluster.checkup_permissions import check_permissions
from restms_cluster.checkup_primary import (
    check_format,
    check_least_replicas,
    check_replicas,
    check_role,
)
from restms_cluster.checkup_together import (
    check_clocks,
    check_coverage,
    check_moves,
    check_sentinels,
    check_slots,
)
from restms_cluster.errors import StateUnavailableError
from restms_cluster.findings import Finding, Grade, Seen, Wanted, ok
from restms_cluster.notifications import SETTING
from restms_cluster.servers import Servers, find_servers
from restms_cluster.topology import Seeds, Sentinels, Topology
from restms_cluster.visits import Visit, facts, pairs, seconds_of, visiting

PINGS = 100
PINGING_SECONDS = 2.0
SENTINEL = "sentinel"  # the mode of a server that is one
AT_ONCE = 8  # servers that are visited
SETTINGS = (
    *("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save"),
    *("stop-writes-on-bgsave-error", "maxmemory", "maxmemory-policy", SETTING),
    *("timeout", "tcp-keepalive", "maxclients", "stream-node-max-bytes"),
    *("cluster-require-full-coverage", "min-replicas-to-write"),
)

Check: TypeAlias = Callable[[Visit, Seen, Wanted, Sequence[str]], Awaitable[list[Finding]]]
"""Checks a server on which these domains live."""


async def checkup(topology: Topology, wanted: Wanted) -> list[Finding]:
    """Return what is found at all servers, those of one server together."""
    try:
        servers = await find_servers(topology)
    except StateUnavailableError as error:
        return [_unreachable(error)]
    look = _Checkup(_KINDS.get(type(topology), "server"), wanted)
    async with trio.open_nursery() as nursery:
        for one in servers:
            nursery.start_soon(look.visit, one.primary, one, check_primary)
            for replica in one.replicas:
                nursery.start_soon(look.visit, replica, one, check_replica)
    return [
        *look.in_order([address for one in servers for address in (one.primary, *one.replicas)]),
        *await _together(topology, servers, look.seen),
    ]


_KINDS: dict[type, str] = {Sentinels: "sentinel", Seeds: "cluster"}


class _Checkup:
    """Gathers what is found, a server at a time or several."""

    def __init__(self, kind: str, wanted: Wanted) -> None:
        self.seen: list[Seen] = []
        self._kind = kind
        self._wanted = wanted
        self._found: dict[Address, list[Finding]] = {}
        self._places = trio.CapacityLimiter(AT_ONCE)

    async def visit(self, address: Address, servers: Servers, check: Check) -> None:
        """Look at one server; one that cannot be reached is a finding, too."""
        found = self._found.setdefault(address, [])
        async with self._places:
            try:
                async with visiting(address, self._wanted.seconds) as visit:
                    seen = await see(visit, self._kind)
                    self.seen.append(seen)
                    found.append(ok("reachable", "it answers, and lets this user in"))
                    if seen.hello.get("mode") == SENTINEL:
                        found.append(checkup_serving.check_mode(seen, self._wanted))
                        return
                    living = _living(servers, self._wanted.domains)
                    found += await check(visit, seen, self._wanted, living)
            except StateUnavailableError as error:
                found.append(_unreachable(error))

    def in_order(self, addresses: Sequence[Address]) -> list[Finding]:
        """Return the findings, in the order of these servers."""
        return [
            replace(finding, server=str(address))
            for address in addresses
            for finding in self._found[address]
        ]


async def see(visit: Visit, kind: str) -> Seen:
    """Return a server as it describes itself. Raises StateUnavailableError."""
    (hello,) = await visit.look(("HELLO",))
    said = pairs(hello)
    if said.get("mode") == SENTINEL:  # which knows next to nothing of all this
        return Seen(visit.address, kind, said, {}, {})
    info, config = await visit.ask(("INFO", "everything"), ("CONFIG", "GET", *SETTINGS))
    before = time.time()
    (clock,) = await visit.look(("TIME",))
    there, here = seconds_of(clock), (before + time.time()) / 2
    return Seen(
        visit.address,
        kind,
        said,
        {} if isinstance(info, Exception) else facts(info),
        {} if isinstance(config, Exception) else pairs(config),
        await _pings(visit),
        there - here,
    )


async def _pings(visit: Visit) -> list[float]:
    """Return how long answers take."""
    took: list[float] = []
    until = trio.current_time() + PINGING_SECONDS
    while len(took) < PINGS and trio.current_time() < until:
        await visit.ask(("PING",))  # which is refused where the disk cannot be written
        took.append(visit.took)
    return took


async def check_replica(
    visit: Visit, seen: Seen, wanted: Wanted, domains: Sequence[str]
) -> list[Finding]:
    """Check a replica: what it will have to be as a primary. Raises StateUnavailableError."""
    return [
        *(check(seen, wanted) for check in (*checkup_serving.CHECKS, *checkup_keeping.CHECKS)),
        *([check_coverage(seen, wanted)] if seen.kind == "cluster" else []),
        *await check_permissions(visit, seen, wanted, domains),
    ]


async def check_primary(
    visit: Visit, seen: Seen, wanted: Wanted, domains: Sequence[str]
) -> list[Finding]:
    """Check a primary. Raises StateUnavailableError."""
    found = [
        *await check_replica(visit, seen, wanted, domains),
        check_role(seen, wanted),
        check_replicas(seen, wanted),
        await check_format(visit, domains),
    ]
    if seen.kind != "server":
        found.append(check_least_replicas(seen, wanted))
    if seen.kind == "cluster":
        found.append(await check_moves(visit))
    if seen.is_primary:
        found += await check_hints(visit, seen, wanted, domains)
    return found


async def _together(
    topology: Topology, servers: Sequence[Servers], seen: Sequence[Seen]
) -> list[Finding]:
    found = [check_clocks(seen)] if len(seen) > 1 else []
    match topology:
        case Sentinels():
            found += await check_sentinels(topology)
        case Seeds():
            found.append(check_slots(servers))
    return found


def _living(servers: Servers, domains: Sequence[str]) -> list[str]:
    """Return the domains that live on a server; else a name that would."""
    living = [name for name in domains if servers.has(name)]
    numbers = (f"doctor-{number}" for number in count())
    return living or [next(name for name in numbers if servers.has(name))]


def _unreachable(error: StateUnavailableError) -> Finding:
    return Finding(
        "reachable",
        Grade.FAILURE,
        error.text,
        ("see that the server runs, and that URL, user, password and certificates are right",),
        "Nodes cannot serve the domains on it.",
    )
