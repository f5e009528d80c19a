"""The tables of docs/performance.md, which a run of everything brings up to date.

A table stands between two comments, `<!-- bench: NAME -->` and `<!-- end -->`.
"""

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.benchmarks import joins
from tests.benchmarks.measure import Found, Group
from tests.benchmarks.report import Results, digits_for, middle_half

PLACE = re.compile(r"(<!-- bench: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
RATIOS = "ratios"


def update(path: Path, new: Mapping[str, str]) -> None:
    """Put new tables in the place of those that the document has; a place without one stays."""

    def replaced(found: re.Match[str]) -> str:
        table = new.get(found[2])
        return f"{found[1]}{table}\n{found[3]}" if table else found[0]

    path.write_text(PLACE.sub(replaced, path.read_text()))


def tables(groups: Sequence[Group], results: Results, curve: joins.Found | None) -> dict[str, str]:
    """All tables by their names: the ratios, and what each group measured."""
    found = {group.name: "\n".join(_measured(results[group.name])) for group in groups}
    found[RATIOS] = "\n".join(_ratios(groups, results))
    if curve is not None:
        found["joins"] = "\n".join(_joins(curve))
    return found


def _ratios(groups: Sequence[Group], results: Results) -> Iterator[str]:
    yield "| | median | middle half | target | |"
    yield "|---|---:|---:|---:|---|"
    for group in groups:
        for ratio in group.ratios:
            each = results[group.name].ratio(ratio)
            if each:
                median = statistics.median(each)
                said = ("met" if ratio.is_met(median) else "missed") if ratio.target() else ""
                cells = (
                    *(ratio.text, f"{median:.2f}", middle_half(each, ".2f"), ratio.target(), said),
                )
                yield f"| {' | '.join(cells)} |"


def _measured(found: Found) -> Iterator[str]:
    yield "| | median | middle half | |"
    yield "|---|---:|---:|---|"
    for name, each in found.results.items():
        way, digits = found.ways[name], digits_for(each)
        median = format(statistics.median(each), digits)
        yield f"| {way.text} | {median} | {middle_half(each, digits)} | {way.unit} |"


def _joins(curve: joins.Found) -> Iterator[str]:
    few, *sizes = joins.SIZES
    yield f"| time, to that with {few} joins |{''.join(f' {size:,} joins |' for size in sizes)}"
    yield "|---|" + "---:|" * len(sizes)
    for (way, kind), times in curve.items():
        medians = (statistics.median(joins.ratios(times, size)) for size in sizes)
        yield f"| {way}: {kind} |{''.join(f' {median:.2f} |' for median in medians)}"
