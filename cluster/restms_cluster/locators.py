"""Finding the primary of each domain."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Protocol

from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError
from restms_cluster.informants import Informants
from restms_cluster.link import Answer
from restms_cluster.slots import SlotLocator
from restms_cluster.topology import Seeds, Sentinels, Topology


class Locator(Protocol):
    """Tells where the primaries are."""

    @property
    def follows(self) -> bool:
        """Whether that may change, so that it is to be asked again."""
        ...

    async def locate(self) -> Mapping[str, Address]:
        """Return the primary of each domain, as far as it can be found out.

        Raises StateUnavailableError when nobody can tell.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


class FixedLocator:
    """All domains are on one server, and stay there."""

    follows = False

    def __init__(self, address: Address, domains: Collection[str]) -> None:
        self._places = dict.fromkeys(domains, address)

    async def locate(self) -> Mapping[str, Address]:
        """Return the one address."""
        return self._places

    async def aclose(self) -> None:
        """Do nothing."""


class SentinelLocator:
    """All domains are on the primary that Sentinels watch.

    All Sentinels are asked, and the one that knows of the latest failover is
    believed: so a node follows as soon as any one of them tells of it. It does
    not go back because those who know do not answer for a moment.
    """

    follows = True

    def __init__(self, sentinels: Sentinels, domains: Collection[str]) -> None:
        self._sentinels = sentinels
        self._domains = tuple(domains)
        self._informants = Informants()
        self._latest: tuple[int, Address] | None = None

    async def locate(self) -> Mapping[str, Address]:
        """Return the primary that they tell of."""
        name = self._sentinels.master
        answers = await self._informants.ask(
            self._sentinels.addresses,
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),
            ("SENTINEL", "MASTER", name),
        )
        if not answers:
            raise StateUnavailableError(f"No Sentinel answers: {self._informants.failure}.")
        found = [
            (_epoch(facts), place[0], place[1])
            for place, facts in answers.values()
            if isinstance(place, list) and len(place) == 2
        ]
        if not found:
            raise StateUnavailableError(f"No Sentinel knows the primary: {_refusal(answers)}.")
        epoch, host, port = max(found, key=lambda one: one[0])
        everybody = len(answers) == len(self._sentinels.addresses)
        if self._latest is None or epoch >= self._latest[0] or everybody:
            primary = replace(self._sentinels.primary, host=_text(host), port=int(_text(port)))
            self._latest = epoch, primary
        return dict.fromkeys(self._domains, self._latest[1])

    async def aclose(self) -> None:
        """Close the links to the Sentinels."""
        await self._informants.aclose()


def make_locator(topology: Topology, domains: Collection[str]) -> Locator:
    """Return what finds the primaries of these domains."""
    match topology:
        case Sentinels():
            return SentinelLocator(topology, domains)
        case Seeds():
            return SlotLocator(topology, domains)
        case _:
            return FixedLocator(topology, domains)


def _text(value: Answer) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _epoch(facts: Answer) -> int:
    """Return the number of the last failover that a Sentinel knows of, 0 if it does not say."""
    if isinstance(facts, list):
        for name, value in zip(facts[::2], facts[1::2], strict=False):
            if name == b"config-epoch" and isinstance(value, bytes) and value.isdigit():
                return int(value)
    return 0


def _refusal(answers: Mapping[Address, list[Answer]]) -> str:
    for place, _ in answers.values():
        if isinstance(place, Exception):
            return str(place)
    return "they have none of that name"
