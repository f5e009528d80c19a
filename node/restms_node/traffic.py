"""What comes in at a node, counted: requests by what they are about, and what was refused."""

from collections import Counter, defaultdict

from restms_cluster.counts import Durations

REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
WAITS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 300.0)
"""Upper bounds of durations, in seconds."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
OTHER = "other"


class Traffic:
    """The requests that this node has answered, and the refusals among them by their stable word.

    `answered` are by route, method and status, `durations` by route and method; a request that
    waited is among `waits` instead. A route is the noun that a request is about.
    """

    __slots__ = ("answered", "durations", "refusals", "waits")

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.durations: defaultdict[tuple[str, str], Durations] = defaultdict(
            lambda: Durations(REQUESTS)
        )
        self.waits = Durations(WAITS)
        self.refusals: Counter[str] = Counter()

    def count(
        self, route: str, method: str, status: int, seconds: float | None, *, waited: bool = False
    ) -> None:
        """Count an answer; `seconds` after its request, where that is known."""
        if method not in METHODS:
            method = OTHER
        self.answered[route, method, status] += 1
        if waited and seconds is not None:
            self.waits.add(seconds)
        elif seconds is not None:
            self.durations[route, method].add(seconds)
