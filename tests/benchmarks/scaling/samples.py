"""A sample: what was done while it was measured, and what it took."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.scaling.meter import Reading


@dataclass(frozen=True)
class Sample:
    """`done` counts the operations by their kinds, `took` is all that it took.

    `nodes` of the nodes were asked, over so many connections, in so many domains.
    """

    way: str
    nodes: int
    connections: int
    domains: int
    done: dict[str, float]
    took: Reading


def write(path: Path, samples: Iterable[Sample]) -> None:
    """Add samples to a file, a line of JSON each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lines:
        for sample in samples:
            lines.write(json.dumps(asdict(sample)) + "\n")
            lines.flush()


def read(path: Path) -> list[Sample]:
    found = (json.loads(line) for line in path.read_text().splitlines())
    return [Sample(**{**one, "took": Reading(**one["took"])}) for one in found]
