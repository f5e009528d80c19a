"""Which primary each domain lives on, and following it when it goes to another one.

With a single server there is one for all domains, and it stays. Otherwise a
locator tells where they are: it is asked regularly, and at once when a link is
lost or a server says that the data is elsewhere. A domain changes over in one
step: calls go to the other shard from then on, and so do those who wait for
hints.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

import trio

from restms_cluster.address import Address
from restms_cluster.errors import NotFoundError, RestMSError, StartError, StateUnavailableError
from restms_cluster.keys import domain_of
from restms_cluster.locators import Locator
from restms_cluster.notifications import Watch
from restms_cluster.shard import Shard

LOOK_SECONDS = 0.5  # from one look at where the primaries are to the next
PAUSE_SECONDS = 0.05  # between two looks, however great the trouble
SETTLE_SECONDS = 10.0  # to get ready on a shard
FOLLOW_SECONDS = 2.0  # for which a call waits to learn where its domain has gone

Make: TypeAlias = Callable[[Address, Collection[str], Callable[[], None]], Shard]
"""Makes a shard for an address and domains, which is to call a function when a link is lost."""

Prepare: TypeAlias = Callable[[Shard], Awaitable[None]]
Arrived: TypeAlias = Callable[[Shard, Sequence[str]], Awaitable[None]]

_log = logging.getLogger("restms.shards")


class Shards:
    """The shards in use. Start them with `await nursery.start(shards.run)`.

    `homes` has the shard of each domain; there is one as soon as `run` has started.
    """

    def __init__(self, locator: Locator, make: Make) -> None:
        self.homes: dict[str, Shard] = {}
        self._locator = locator
        self._make = make
        self._shards: dict[Address, Shard] = {}
        self._trouble = trio.Event()
        self._looked = trio.Event()
        self._complaint = ""

    def __iter__(self) -> Iterator[Shard]:
        """Go through the shards on which domains live."""
        return iter(dict.fromkeys(self.homes.values()))

    def home(self, domain: str) -> Shard:
        """Return the shard of a domain; NotFoundError where there is no such domain."""
        try:
            return self.homes[domain]
        except KeyError:
            raise NotFoundError("There is no such domain.") from None

    def watch(self, key: str) -> Watch:
        """Register interest in the resource that has this Redis key."""
        return self.home(domain_of(key)).notifications.watch(key)

    def wake_all(self) -> None:
        """Give every watcher a hint."""
        for shard in self:
            shard.notifications.wake_all()

    async def run(
        self,
        prepare: Prepare,
        arrived: Arrived,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Connect to all shards, and follow the domains for ever.

        `prepare` runs with each new shard before any domain's calls go there,
        `arrived` when domains have come to another shard than before. Raises
        what `prepare` raises, or StartError, perhaps in a group, at first only.
        """
        try:
            async with trio.open_nursery() as nursery:
                await self._first_look(nursery, prepare)
                task_status.started()
                while self._locator.follows:
                    with trio.move_on_after(LOOK_SECONDS):
                        await self._trouble.wait()
                    self._trouble = trio.Event()
                    await self._look(nursery, prepare, arrived)
                    looked, self._looked = self._looked, trio.Event()
                    looked.set()
                    await trio.sleep(PAUSE_SECONDS)
        finally:
            await self._locator.aclose()

    async def follow(self, domain: str, left: Shard) -> bool:
        """Find out where a domain has gone from a shard; tell whether it is elsewhere now."""
        if self._locator.follows:
            with trio.move_on_after(FOLLOW_SECONDS):
                while self.homes[domain] is left:
                    self._trouble.set()
                    await self._looked.wait()
        return self.homes[domain] is not left

    async def _first_look(self, nursery: trio.Nursery, prepare: Prepare) -> None:
        try:
            places = await self._locator.locate()
        except StateUnavailableError as error:
            raise StartError(error.text) from error
        async with trio.open_nursery() as settling:
            for address, domains in self._arrivals(places).items():
                settling.start_soon(self._settle, nursery, prepare, address, domains)

    async def _look(self, nursery: trio.Nursery, prepare: Prepare, arrived: Arrived) -> None:
        async def settle(address: Address, domains: list[str]) -> None:
            settled = False
            try:
                with trio.fail_after(SETTLE_SECONDS):
                    await self._settle(nursery, prepare, address, domains)
                settled = True
            except* trio.TooSlowError:
                self._complain(f"{address} is not ready in time.")
            except* (RestMSError, StartError) as group:
                self._complain(str(_first(group)))
            if settled:
                nursery.start_soon(arrived, self.homes[domains[0]], domains)

        try:
            places = await self._locator.locate()
        except StateUnavailableError as error:
            self._complain(error.text)
            return
        # At once, though the next may not be ready yet: what was the primary may take
        # writes still that nobody will ever see.
        for address in self._shards.keys() - set(places.values()):
            nursery.start_soon(self._shards.pop(address).retire)
        async with trio.open_nursery() as settling:
            for address, domains in self._arrivals(places).items():
                settling.start_soon(settle, address, domains)

    def _arrivals(self, places: Mapping[str, Address]) -> dict[Address, list[str]]:
        """Return the domains that are not where they were, by where they are now."""
        found: dict[Address, list[str]] = {}
        for domain, address in places.items():
            home = self.homes.get(domain)
            if home is None or home is not self._shards.get(address):
                found.setdefault(address, []).append(domain)
        return found

    async def _settle(
        self, nursery: trio.Nursery, prepare: Prepare, address: Address, domains: list[str]
    ) -> None:
        shard = self._shards.get(address)
        if shard is None:
            shard = self._make(address, domains, self._look_soon)
            await nursery.start(shard.run)
            try:
                await prepare(shard)
            except BaseException:
                shard.close()
                raise
            self._shards[address] = shard
        else:
            await shard.welcome(domains)
        # From here on in one step: nobody may begin to wait at the old place any more.
        for left in {self.homes[domain] for domain in domains if domain in self.homes}:
            shard.notifications.adopt(left.farewell(domains))
        self.homes.update(dict.fromkeys(domains, shard))

    def _look_soon(self) -> None:
        self._trouble.set()

    def _complain(self, complaint: str) -> None:
        """Log what is wrong, once for as long as it stays the same."""
        if complaint != self._complaint:
            self._complaint = complaint
            _log.warning("Not all domains can be found: %s", complaint)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
