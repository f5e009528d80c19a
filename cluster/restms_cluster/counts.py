"""What the broker counts, as plain numbers: nothing here knows who asks for them, or how.

The paths of messages add to them, so an addition is all that it costs: no locks, for one task at a
time runs, and no look-ups by several labels.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from restms_cluster.scripts import Transition

ROUND_TRIPS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
LATENESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of durations, in seconds."""


class Durations:
    """How many durations there were up to each of some bounds, and beyond; and their sum."""

    __slots__ = ("_bounds", "numbers", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.numbers = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self._bounds = bounds

    def add(self, seconds: float) -> None:
        """Count one."""
        self.numbers[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class Messages:
    """What became of the messages of one domain, as far as this node saw to it.

    `routed` are copies that came into pipes, or into the queues of feeds; `lost` found no room
    anywhere. `lateness` is by how much delayed messages came later than they were due.
    """

    received: int = 0
    routed: int = 0
    unroutable: int = 0
    delivered: int = 0
    acknowledged: int = 0
    redelivered: int = 0
    expired: int = 0
    dead_lettered: int = 0
    lost: int = 0
    lateness: Durations = field(default_factory=lambda: Durations(LATENESS))


@dataclass(frozen=True, slots=True)
class Holding:
    """What a domain holds: messages, the age of the oldest in seconds, and pipes."""

    messages: int
    oldest: float
    pipes: int


@dataclass(slots=True)
class Sweeping:
    """This node does a domain's housekeeping, until another may (Trio's time); `at` it did last."""

    at: float
    until: float
    holding: Holding | None = None


class Counts:
    """All that a node's broker counts.

    `messages` are by domain, `scripts` (round trips) by their stubs, `reconnects` by server.
    """

    __slots__ = ("_sweeping", "messages", "reconnects", "scripts")

    def __init__(self) -> None:
        self.messages: defaultdict[str, Messages] = defaultdict(Messages)
        self.scripts: defaultdict[type[Transition], Durations] = defaultdict(
            lambda: Durations(ROUND_TRIPS)
        )
        self.reconnects: Counter[str] = Counter()
        self._sweeping: dict[str, Sweeping] = {}

    def sweeps(self, domain: str, at: float, until: float) -> None:
        """Remember when this node has swept a domain, and until when nobody else will."""
        before = self._sweeping.get(domain)
        self._sweeping[domain] = Sweeping(at, until, before.holding if before else None)

    def sweeps_no_more(self, domain: str) -> None:
        """Forget what only the node that sweeps a domain tells of it."""
        self._sweeping.pop(domain, None)

    def surveyed(self, domain: str, holding: Holding) -> None:
        """Remember what a domain holds, as long as this node sweeps it."""
        if domain in self._sweeping:
            self._sweeping[domain].holding = holding

    def swept(self) -> Iterator[tuple[str, Sweeping]]:
        """Yield the domains that this node sweeps now."""
        now = trio.current_time()
        for domain, sweeping in self._sweeping.items():
            if sweeping.until > now:
                yield domain, sweeping

    def is_sweeping(self, domain: str) -> bool:
        """Tell whether this node sweeps a domain now."""
        return any(name == domain for name, _ in self.swept())
