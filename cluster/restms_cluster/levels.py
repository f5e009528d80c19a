"""Levels of durability: what a message has survived when its publisher is told that it is in.

    node            it is in Redis: nodes may die
    disk            and on the disk of Redis's primary: that may be killed, or lose its power
    replicas        and in the memory of replicas: the primary may be lost
    disk+replicas   both

The server has a level, and feeds of the configuration may add to it. A level costs only those
who publish to its feeds. `docs/reliability.md` tells what survives what, and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag

from restms_cluster.errors import StartError, StateUnavailableError, UnavailableError
from restms_cluster.formats import Server
from restms_cluster.names import FeedName


class Level(Flag):
    """What is promised beyond Redis's memory."""

    NODE = 0
    DISK = 1
    REPLICAS = 2

    def __str__(self) -> str:
        """Return its name."""
        return next(name for name, level in LEVELS.items() if level == self)


LEVELS: Mapping[str, Level] = {
    "node": Level.NODE,
    "disk": Level.DISK,
    "replicas": Level.REPLICAS,
    "disk+replicas": Level.DISK | Level.REPLICAS,
}


@dataclass(frozen=True, slots=True)
class Durability:
    """What is asked for: the server's level, what feeds add to it, and when replicas do.

    `replicas` is how many are to have a message, within so many seconds.
    """

    level: Level = Level.NODE
    feeds: Mapping[FeedName, Level] = field(default_factory=dict)
    replicas: int = 1
    replica_seconds: float = 1.0

    def of(self, feed: FeedName) -> Level:
        """Return the level of a feed: the server's, and what it adds."""
        return self.level | self.feeds.get(feed, Level.NODE)

    def wants(self, level: Level) -> bool:
        """Tell whether the server or any of its feeds has this level."""
        return level in self.level or any(level in one for one in self.feeds.values())


class Disk:
    """Whether Redis writes to its disk before it answers: known for the link that there is."""

    def __init__(self) -> None:
        self._trouble = "nobody has looked"

    async def look(self, link: Server) -> None:
        """Find it out anew: it is asked on each new link, for it may be another server."""
        wanted = {"appendonly": b"yes", "appendfsync": b"always"}
        replies = await link.call_many([("CONFIG", "GET", name) for name in wanted])
        troubles = [
            f"its {name} is not {value.decode()}"
            if isinstance(reply, list)
            else f"it does not tell its {name}"
            for (name, value), reply in zip(wanted.items(), replies, strict=True)
            if not isinstance(reply, list) or reply[1:] != [value]
        ]
        self._trouble = troubles[0] if troubles else ""

    def check_start(self) -> None:
        """Raise StartError where it does not: nobody is to be promised what cannot be kept."""
        if self._trouble:
            raise StartError(
                "The level disk needs a Redis that writes to its disk before it answers "
                f"(appendonly yes, appendfsync always): {self._trouble}."
            )

    def check(self) -> None:
        """Raise UnavailableError where it does not, or may not."""
        if self._trouble:
            raise UnavailableError(
                "Redis does not write each message to its disk before it answers, as this feed "
                f"promises: {self._trouble}; nothing was routed.",
                retry_after=5,
            )

    def check_done(self) -> None:
        """Raise StateUnavailableError where it does not any more: what was done may be lost.

        A call that was checked before may have waited for another link, to another server.
        """
        if self._trouble:
            raise StateUnavailableError(
                "The messages are in, but Redis has changed and does not write each message to its "
                f"disk before it answers, as this feed promises: {self._trouble}."
            )


class TooFewReplicasError(StateUnavailableError):
    """A message is in, but too few replicas have it as yet: its publisher cannot be told so."""

    word = "too_few_replicas"

    def __init__(self) -> None:
        super().__init__(
            "The messages are in, but too few replicas had them in time: they may be lost. Repeat "
            "the request under the same Idempotency-Key, or the same message_id where the feed "
            "knows repeats; without one of these, they may come twice."
        )
