"""What a benchmark is made of: ways to do something, figures in groups, and what was found.

A group opens what it needs and gives its ways. The runner measures all ways of a group in
turn, round after round; a ratio is taken within a round, and its median is what counts.
"""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path


class NotInstalledError(Exception):
    """Something that is measured beside us is not on this machine; the text says what to do."""


@dataclass(frozen=True)
class Way:
    """One thing to be measured. Its text names it; `unit` is that of what `measure` returns."""

    text: str
    unit: str
    measure: Callable[[], float]


@dataclass(frozen=True)
class Ratio:
    """A way's result, `times` so much, to another's; without another, the result itself.

    The target is a bound: at least or at most so much, or none.
    """

    text: str
    over: str
    under: str = ""
    times: float = 1
    least: float | None = None
    most: float | None = None

    def target(self) -> str:
        if self.least is not None:
            return f"at least {self.least:g}"
        return f"at most {self.most:g}" if self.most is not None else ""

    def is_met(self, value: float) -> bool:
        if self.least is not None and value < self.least:
            return False
        return self.most is None or value <= self.most


@dataclass
class Setting:
    """How to measure: seconds for each way in a round, and a directory for what it needs.

    `samples` takes single measurements where their spread is of interest, in the unit
    of their way; `notes` what a reader of the figures must know.
    """

    seconds: float
    directory: Path
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class Group:
    """Figures that are measured in alternation. `guess` is how many seconds a round takes."""

    name: str
    text: str
    open: Callable[[Setting], AbstractContextManager[dict[str, Way]]]
    ratios: tuple[Ratio, ...] = ()
    rounds: int = 7
    guess: float = 5.0


@dataclass
class Found:
    """What came of a group: of each way, the results of all rounds, in order."""

    ways: dict[str, Way] = field(default_factory=dict)
    results: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ratio(self, wanted: Ratio) -> list[float]:
        """The ratio in each round; empty if one of its ways was not measured."""
        over = self.results.get(wanted.over, [])
        if not wanted.under:
            return [wanted.times * each for each in over]
        under = self.results.get(wanted.under, [])
        return [wanted.times * a / b for a, b in zip(over, under, strict=False)]

    def median(self, way: str) -> float:
        return statistics.median(self.results[way])
