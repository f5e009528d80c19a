"""Shortages: that somebody found no room in a domain, told to who measures it."""

from collections import defaultdict

import trio


class Shortages:
    """Those that this node has met since it last began to measure."""

    def __init__(self) -> None:
        self._met: defaultdict[str, trio.Event] = defaultdict(trio.Event)

    def tell(self, domain: str) -> None:
        """Somebody found no room."""
        self._met[domain].set()

    def forget(self, domain: str) -> None:
        """Begin anew: what was met before is seen to now."""
        self._met.pop(domain, None)

    async def wait(self, domain: str, seconds: float) -> None:
        """Return as soon as there is one, or after so many seconds."""
        with trio.move_on_after(seconds):
            await self._met[domain].wait()
