"""Finding the primaries of a Redis Cluster by its slots."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis.crc import key_slot

from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError
from restms_cluster.informants import Informants
from restms_cluster.keys import domain_key
from restms_cluster.topology import Seeds

MOST_ASKED = 5  # servers at a time
SLOTS = 16384

_SLOTS, _NODES = ("CLUSTER", "SLOTS"), ("CLUSTER", "NODES")


@dataclass(frozen=True, slots=True)
class Claim:
    """A server's word that slots, from `first` to `last`, are some primary's, since that epoch."""

    first: int
    last: int
    epoch: int
    servers: tuple[Address, ...]  # the primary, and then its replicas


class SlotLocator:
    """Each domain is on the primary that serves the slot of its keys.

    Several servers are asked, the present primaries first. Whoever took a slot
    last did so in the highest epoch, so that is believed: neither a primary
    that has not heard of its failover yet nor one that has just given a slot
    away can mislead. An older claim counts only where the present primary, too,
    knows of none that is newer.
    """

    follows = True

    def __init__(self, seeds: Seeds, domains: Collection[str]) -> None:
        self._seeds = seeds
        self._slots = {domain: slot_of(domain) for domain in domains}
        self._informants = Informants()
        self._places: dict[str, Claim] = {}
        self._known: dict[Address, None] = {}  # all servers; those asked longest ago first

    async def locate(self) -> Mapping[str, Address]:
        """Return the primary of each domain whose slot somebody serves."""
        answers = await self._informants.ask(self._some(), _SLOTS, _NODES)
        answers = answers or await self._informants.ask(self._all(), _SLOTS, _NODES)
        if not answers:
            raise _silent(self._informants)
        claims = _told(answers)
        for domain, slot in self._slots.items():
            fitting = [claim for claim in claims if claim.first <= slot <= claim.last]
            if fitting:
                self._believe(domain, max(fitting, key=lambda claim: claim.epoch), answers)
            elif domain not in self._places:
                raise StateUnavailableError(
                    f"No server of the Redis Cluster serves the slot of the domain {domain}."
                )
        self._remember(claims)
        return {
            domain: replace(claim.servers[0], primary=True)
            for domain, claim in self._places.items()
        }

    async def aclose(self) -> None:
        """Close the links to the servers."""
        await self._informants.aclose()

    def _believe(self, domain: str, claim: Claim, answers: Collection[Address]) -> None:
        present = self._places.get(domain)
        if present is None or claim.epoch >= present.epoch or present.servers[0] in answers:
            self._places[domain] = claim

    def _some(self) -> list[Address]:
        """Return the present primaries, and others in turn."""
        primaries = dict.fromkeys(claim.servers[0] for claim in self._places.values())
        wanted = list(primaries)[: MOST_ASKED - 2]
        for address in list(self._known):
            if len(wanted) == MOST_ASKED:
                break
            if address not in wanted:
                wanted.append(address)
                self._known[address] = self._known.pop(address)
        return wanted

    def _all(self) -> list[Address]:
        return [*dict.fromkeys((*self._seeds.addresses, *self._known))]

    def _remember(self, claims: list[Claim]) -> None:
        servers = {address for claim in claims for address in claim.servers}
        kept = [address for address in self._known if address in servers]
        self._known = dict.fromkeys((*kept, *servers))


async def ask_for_slots(informants: Informants, seeds: Seeds) -> list[Claim]:
    """Return what the seeds say of who serves which slots.

    Raises StateUnavailableError when none of them tells.
    """
    answers = await informants.ask(seeds.addresses, _SLOTS, _NODES)
    if not answers:
        raise _silent(informants)
    return _told(answers)


def slot_of(domain: str) -> int:
    """Return the slot of a Redis Cluster that all keys of a domain are in."""
    return int(key_slot(domain_key(domain).encode()))


def _silent(informants: Informants) -> StateUnavailableError:
    return StateUnavailableError(f"No server of the Redis Cluster answers: {informants.failure}.")


def _told(answers: Mapping[Address, Sequence[Any]]) -> list[Claim]:
    claims = [claim for address, one in answers.items() for claim in _claims(address, *one)]
    if not claims:
        address, replies = next(iter(answers.items()))
        raise StateUnavailableError(
            f"The server at {address} does not tell of a Redis Cluster: {_refusal(replies)}."
        )
    return claims


def _claims(asked: Address, slots: Any, nodes: Any) -> list[Claim]:
    """Read what a server says, nothing if that cannot be read.

    The addresses are those that it would have its clients use.
    """
    claims = []
    try:
        lines = [line.split(" ") for line in nodes.decode().splitlines()]
        epochs = {fields[0].encode(): int(fields[6]) for fields in lines}
        for first, last, *servers in slots:
            addresses = tuple(
                replace(asked, host=_host(asked, host), port=int(port))
                for host, port, *_ in servers
            )
            claims.append(Claim(int(first), int(last), epochs[servers[0][2]], addresses))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return []
    return claims


def _refusal(replies: Iterable[object]) -> str:
    errors = [str(reply) for reply in replies if isinstance(reply, Exception)]
    return errors[0].rstrip(".") if errors else "it has no slots"


def _host(asked: Address, named: object) -> str:
    """Return a server's host; one that does not know its own name is where it was asked."""
    host = named.decode() if isinstance(named, bytes) else ""
    return asked.host if host in ("", "?") else host
