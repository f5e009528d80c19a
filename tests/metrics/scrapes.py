"""What nodes tell at /metrics, as a test reads it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from urllib.request import urlopen

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.waiting import wait_until

SECONDS = 20.0


class Scrape:
    """One answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def families(self) -> list[Metric]:
        return list(text_string_to_metric_families(self.text))

    @cached_property
    def every(self) -> list[Sample]:
        """All samples."""
        return [sample for family in self.families for sample in family.samples]

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """The samples of that name that have those labels, perhaps among others."""
        return [
            sample
            for sample in self.every
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """What those come to."""
        return sum(sample.value for sample in self.samples(name, **labels))

    @property
    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """All that there are, by name and labels."""
        return {(sample.name, frozenset(sample.labels.items())) for sample in self.every}


def scrape(url: str) -> Scrape:
    """What one node tells now."""
    with urlopen(f"{url}/metrics", timeout=SECONDS) as answer:  # noqa: S310, a node of the test
        return Scrape(answer.read().decode())


def told(urls: Sequence[str], name: str, **labels: str) -> float:
    """What some nodes tell of something, added up."""
    found = 0.0
    for url in urls:
        lines = [line for line in scrape(url).text.splitlines() if line.startswith(name)]
        found += Scrape("\n".join([*lines, ""])).value(name, **labels)
    return found


@contextmanager
def grows(urls: Sequence[str], name: str, by: float = 1, **labels: str) -> Iterator[None]:
    """What the block does makes something grow by so much, or shrink, on all nodes together."""
    before = told(urls, name, **labels)
    yield
    found = [before]

    def grown() -> bool:
        found[0] = told(urls, name, **labels)
        return abs(found[0] - before) >= abs(by)

    wait_until(grown)
    assert found[0] - before == by


def counters(told: Scrape) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in told.families
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


def check_nothing_falls(before: Scrape, after: Scrape) -> None:
    found = counters(after)
    assert {
        key: value for key, value in counters(before).items() if found.get(key, -1) < value
    } == {}
