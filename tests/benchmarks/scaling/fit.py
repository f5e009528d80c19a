"""The costs of single steps, from samples that have many steps each.

Every sample says how often it did what, and what that took. Least squares find what each step
costs, none less than nothing; errors count by their share of the sample. Work beside us can
only make a sample dearer, so of those that are alike the cheapest third counts.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.benchmarks.scaling.samples import Sample

Steps = dict[str, float]
PASSES = 3000
SHARE = 3  # one in so many


@dataclass(frozen=True)
class Fit:
    """What each step costs, in microseconds, and by how much the samples differ from that."""

    costs: Steps
    errors: tuple[float, ...]

    @property
    def error(self) -> float:
        """The median of the errors, as a share of what was measured."""
        return statistics.median(abs(error) for error in self.errors)


def fit(rows: Sequence[tuple[Steps, float]]) -> Fit:
    """Find costs so that the steps of each row come to its seconds."""
    names = sorted({name for steps, _ in rows for name, many in steps.items() if many})
    scaled = [[steps.get(name, 0.0) / seconds for name in names] for steps, seconds in rows]
    gram = [
        [sum(row[i] * row[j] for row in scaled) for j in range(len(names))]
        for i in range(len(names))
    ]
    goal = [sum(row[i] for row in scaled) for i in range(len(names))]
    found = [0.0] * len(names)
    for _ in range(PASSES):  # one cost after the other, as well as it can be
        for i, own in enumerate(gram):
            rest = sum(own[j] * found[j] for j in range(len(names)) if j != i)
            found[i] = max(0.0, (goal[i] - rest) / own[i])
    errors = tuple(sum(a * b for a, b in zip(row, found, strict=True)) - 1 for row in scaled)
    return Fit({name: 1e6 * cost for name, cost in zip(names, found, strict=True)}, errors)


def cheapest(samples: Iterable[Sample], seconds: Callable[[Sample], float]) -> list[Sample]:
    """Of samples that are alike, the third that took the least for each operation."""
    alike: dict[tuple[object, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        key = (sample.way, sample.nodes, sample.connections, sample.domains, *sample.done)
        if sample.way in ("sizes", "batches", "fan"):
            key = (*key, *sample.done.values())
        alike[key].append(sample)
    chosen: list[Sample] = []
    for several in alike.values():
        several.sort(key=lambda one: seconds(one) / sum(one.done.values()))
        chosen += several[: max(1, len(several) // SHARE)]
    return chosen
