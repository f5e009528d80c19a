"""Connecting, and connecting again."""

import logging
import random
from collections.abc import Callable

import trio

from restms_cluster.address import Address
from restms_cluster.errors import StartError, StateUnavailableError
from restms_cluster.link import Link

PAUSE_FIRST = 0.05
PAUSE_LONGEST = 1.0


def nothing() -> None:
    """Do nothing."""


class Dialer:
    """Opens one link after another to the same address, with growing, uneven pauses."""

    def __init__(
        self, address: Address, logger: logging.Logger, lost: Callable[[], None] = nothing
    ) -> None:
        """`lost` is called whenever there is no link, for the server may have been replaced."""
        self._address = address
        self._logger = logger
        self._lost = lost
        self._opened = 0.0
        self._pause = PAUSE_FIRST

    async def first(self) -> Link:
        """Open the first link. Raises StartError: a wrong address is better told than retried."""
        try:
            link = await Link.open(self._address)
        except StateUnavailableError as error:
            raise StartError(error.text) from error
        self._opened = trio.current_time()
        return link

    async def again(self, cause: StateUnavailableError) -> Link:
        """Open a link in place of one that `cause` ended, however long that takes."""
        self._logger.warning("Connecting to %s again: %s", self._address, cause.text)
        # A link that breaks as soon as it is made must not be made again in a tight loop.
        if trio.current_time() - self._opened > PAUSE_LONGEST:
            self._pause = PAUSE_FIRST
        while True:
            self._lost()
            # Uneven, so that the nodes of a cluster do not all come back in the same moment.
            await trio.sleep(self._pause * random.uniform(0.5, 1))
            self._pause = min(PAUSE_LONGEST, self._pause * 2)
            try:
                link = await Link.open(self._address)
            except StateUnavailableError as error:
                self._logger.debug("%s", error.text)
                continue
            self._logger.info("Connected to %s again.", self._address)
            self._opened = trio.current_time()
            return link
