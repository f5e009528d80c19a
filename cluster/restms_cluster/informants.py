"""Servers that are asked where others are: several at once, and nobody is waited for long."""

from collections.abc import Iterable, Sequence

import trio

from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Answer, Link, LostError, pack

ASK_SECONDS = 1.0  # for the first answer
LATE_SECONDS = 0.2  # for those after the first


class Informants:
    """Links to such servers, which are kept from one question to the next."""

    def __init__(self) -> None:
        self._links: dict[Address, Link] = {}
        self.failure = "no answer in time"  # why the last one that did not answer did not

    async def ask(
        self, addresses: Iterable[Address], *commands: Sequence[str]
    ) -> dict[Address, list[Answer]]:
        """Return what each of them replies to the commands; who does not answer is left out."""
        answers: dict[Address, list[Answer]] = {}
        data = b"".join([pack(*command) for command in commands])

        async def ask(address: Address) -> None:
            try:
                answers[address] = await self._ask(address, data, len(commands))
            except StateUnavailableError as error:
                self.failure = error.text.rstrip(".")
                return
            late = trio.current_time() + LATE_SECONDS
            scope.deadline = min(scope.deadline, late)

        with trio.move_on_after(ASK_SECONDS) as scope:
            async with trio.open_nursery() as nursery:
                for address in addresses:
                    nursery.start_soon(ask, address)
        return answers

    async def aclose(self) -> None:
        """Close the links."""
        while self._links:
            _, link = self._links.popitem()
            await link.aclose()

    async def _ask(self, address: Address, data: bytes, count: int) -> list[Answer]:
        kept = self._links.pop(address, None)
        if kept is not None:
            try:
                return await self._ask_by(kept, address, data, count)
            except LostError:
                pass  # it may have been closed long ago
        link = await Link.open(address, timeout=ASK_SECONDS)
        return await self._ask_by(link, address, data, count)

    async def _ask_by(self, link: Link, address: Address, data: bytes, count: int) -> list[Answer]:
        replies: list[Answer] = []
        try:
            await link.send(data)
            while len(replies) < count:
                replies += await link.receive()
        except BaseException:
            await link.aclose()
            raise
        self._links[address] = link
        return replies
