"""All servers of a topology: primaries, and the replicas that can take their place.

Nodes need only the primaries of their domains (`locators.py`); who operates the servers asks
about each of them.
"""

from dataclasses import dataclass, replace

from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError
from restms_cluster.informants import Informants
from restms_cluster.locators import SentinelLocator
from restms_cluster.slots import SLOTS, Claim, ask_for_slots, slot_of
from restms_cluster.topology import Seeds, Sentinels, Topology
from restms_cluster.visits import number, pairs

GONE = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True, slots=True)
class Servers:
    """A primary and its replicas. In a Redis Cluster it has `slots`, else None: all there is."""

    primary: Address
    replicas: tuple[Address, ...] = ()
    slots: frozenset[int] | None = None

    def has(self, domain: str) -> bool:
        """Tell whether a domain lives here."""
        return self.slots is None or slot_of(domain) in self.slots


async def find_servers(topology: Topology) -> tuple[Servers, ...]:
    """Return the primaries that there are, each with its replicas, by their addresses.

    Raises StateUnavailableError when nobody can tell.
    """
    match topology:
        case Sentinels():
            return (await _watched(topology),)
        case Seeds():
            return await _of_cluster(topology)
        case _:
            return (Servers(topology),)


async def _watched(sentinels: Sentinels) -> Servers:
    locator = SentinelLocator(sentinels, [""])
    informants = Informants()
    try:
        primary = (await locator.locate())[""]
        asked = ("SENTINEL", "REPLICAS", sentinels.master)
        answers = await informants.ask(sentinels.addresses, asked)
    finally:
        await locator.aclose()
        await informants.aclose()
    replicas: dict[Address, None] = {}
    for (told,) in answers.values():
        for replica in told if isinstance(told, list) else []:
            known = pairs(replica)
            host, port = known.get("ip"), number(known.get("port"))
            if host and port and not _is_gone(known.get("flags", "")):
                at = replace(primary, host=host, port=port, primary=False)
                replicas[at] = None
    return Servers(replace(primary, primary=False), tuple(replicas))


def _is_gone(flags: str) -> bool:
    return any(flag in GONE for flag in flags.split(","))


async def _of_cluster(seeds: Seeds) -> tuple[Servers, ...]:
    informants = Informants()
    try:
        claims = await ask_for_slots(informants, seeds)
    finally:
        await informants.aclose()
    owners: list[Claim | None] = [None] * SLOTS
    for claim in sorted(claims, key=lambda one: one.epoch):  # the latest has the last word
        owners[claim.first : claim.last + 1] = [claim] * (claim.last + 1 - claim.first)
    found: dict[Address, tuple[Claim, set[int]]] = {}
    for slot, owner in enumerate(owners):
        if owner is not None:
            found.setdefault(owner.servers[0], (owner, set()))[1].add(slot)
    if not found:
        raise StateUnavailableError("No server of the Redis Cluster serves any slot.")
    return tuple(
        Servers(primary, owner.servers[1:], frozenset(slots))
        for primary, (owner, slots) in sorted(found.items(), key=lambda one: str(one[0]))
    )
