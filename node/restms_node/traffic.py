"""What comes in at a node, counted: requests by what they are about, and what was refused."""

from collections import Counter

from restms_cluster.counts import Durations

REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
WAITS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 300.0)
"""Upper bounds of durations, in seconds."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
OTHER = "other"


class Answers:
    """Answers that are alike in route, method and status: their number.

    Those of one route and method share the `durations` of all that did not wait.
    """

    __slots__ = ("durations", "number")

    def __init__(self, durations: Durations) -> None:
        self.number = 0
        self.durations = durations


class Traffic:
    """The requests that this node has answered, and the refusals among them by their stable word.

    A route is the noun that a request is about. A request that waited is among `waits`, and in no
    other durations.
    """

    __slots__ = ("answers", "durations", "refusals", "waits")

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, int], Answers] = {}
        self.durations: dict[tuple[str, str], Durations] = {}
        self.waits = Durations(WAITS)
        self.refusals: Counter[str] = Counter()

    def count(
        self, route: str, method: str, status: int, seconds: float | None, *, waited: bool = False
    ) -> None:
        """Count an answer; `seconds` after its request, where that is known."""
        answers = self.answers.get((route, method, status)) or self._begin(route, method, status)
        answers.number += 1
        if seconds is None:
            return
        if waited:
            self.waits.add(seconds)
        else:
            answers.durations.add(seconds)

    def refuse(self, word: str, status: int) -> None:
        """Count a refusal of what is not even a request."""
        self.refusals[word] += 1
        self.count(OTHER, OTHER, status, None)

    def _begin(self, route: str, method: str, status: int) -> Answers:
        if method not in METHODS:
            method = OTHER
        durations = self.durations.setdefault((route, method), Durations(REQUESTS))
        return self.answers.setdefault((route, method, status), Answers(durations))
