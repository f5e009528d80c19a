"""Finding the primaries of a Redis Cluster by its slots."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ResponseError

from restms_cluster.address import Address
from restms_cluster.errors import StartError, StateUnavailableError
from restms_cluster.informants import Informants
from restms_cluster.keys import domain_key
from restms_cluster.topology import Seeds

MOST_ASKED = 5  # servers at a time

_SLOTS, _NODES = ("CLUSTER", "SLOTS"), ("CLUSTER", "NODES")


@dataclass(frozen=True, slots=True)
class _Range:
    """A server's word that some slots are some primary's, since that epoch."""

    first: int
    last: int
    epoch: int
    servers: tuple[Address, ...]  # the primary, and then its replicas


class SlotLocator:
    """Each domain is on the primary that serves the slot of its keys.

    Several servers are asked, the present primaries first. Whoever took a slot
    last did so in the highest epoch, so that is believed: neither a primary
    that has not heard of its failover yet nor one that has just given
    a slot away can mislead.
    """

    follows = True

    def __init__(self, seeds: Seeds, domains: Collection[str]) -> None:
        self._seeds = seeds
        self._slots = {domain: _slot(domain) for domain in domains}
        self._informants = Informants()
        self._places: dict[str, Address] = {}
        self._known: dict[Address, None] = {}  # all servers; those asked longest ago first

    async def locate(self) -> Mapping[str, Address]:
        """Return the primary of each domain whose slot somebody serves."""
        answers = await self._informants.ask(self._some(), _SLOTS, _NODES)
        answers = answers or await self._informants.ask(self._all(), _SLOTS, _NODES)
        if not answers:
            raise StateUnavailableError(
                f"No server of the Redis Cluster answers: {self._informants.failure}."
            )
        ranges = [each for address, one in answers.items() for each in _ranges(address, *one)]
        places = {}
        for domain, slot in self._slots.items():
            claims = [each for each in ranges if each.first <= slot <= each.last]
            if claims:
                places[domain] = max(claims, key=lambda claim: claim.epoch).servers[0]
        self._remember(ranges)
        unserved = [domain for domain in self._slots if domain not in places]
        if unserved and not self._places:
            raise StateUnavailableError(
                f"No server of the Redis Cluster serves the slot of the domain {unserved[0]}."
            )
        self._places.update(places)
        return {domain: replace(address, primary=True) for domain, address in self._places.items()}

    async def aclose(self) -> None:
        """Close the links to the servers."""
        await self._informants.aclose()

    def _some(self) -> list[Address]:
        """Return the present primaries, and others in turn."""
        wanted = list(dict.fromkeys(self._places.values()))[: MOST_ASKED - 2]
        for address in list(self._known):
            if len(wanted) == MOST_ASKED:
                break
            if address not in wanted:
                wanted.append(address)
                self._known[address] = self._known.pop(address)
        return wanted

    def _all(self) -> list[Address]:
        return [*dict.fromkeys((*self._seeds.addresses, *self._known))]

    def _remember(self, ranges: list[_Range]) -> None:
        servers = {address for each in ranges for address in each.servers}
        kept = [address for address in self._known if address in servers]
        self._known = dict.fromkeys((*kept, *servers))


def _slot(domain: str) -> int:
    return int(key_slot(domain_key(domain).encode()))


def _ranges(asked: Address, slots: Any, nodes: Any) -> Iterator[_Range]:
    """Read what a server says. The addresses are those that it would have its clients use."""
    for reply in (slots, nodes):
        if isinstance(reply, ResponseError):
            raise StartError(f"The server at {asked} does not tell of a cluster: {reply}.")
    epochs = {}
    for line in nodes.decode().splitlines() if isinstance(nodes, bytes) else ():
        fields = line.split(" ")
        if len(fields) > 6 and fields[6].isdigit():
            epochs[fields[0]] = int(fields[6])
    for first, last, *servers in slots if isinstance(slots, list) else ():
        addresses = tuple(
            replace(asked, host=_host(asked, server[0]), port=server[1]) for server in servers
        )
        yield _Range(first, last, epochs.get(servers[0][2].decode(), 0), addresses)


def _host(asked: Address, named: object) -> str:
    """Return a server's host; one that does not know its own name is where it was asked."""
    host = named.decode() if isinstance(named, bytes) else ""
    return asked.host if host in ("", "?") else host
