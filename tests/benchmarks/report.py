"""What was found: as tables for people, and as a file with every single result."""

import json
import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import load
from tests.benchmarks.measure import Found, Group, Ratio, Setting
from tests.servers import find_binary

PACKAGES = ("hypercorn", "quart-trio", "quart", "trio", "hiredis", "cbor2")
Results = Mapping[str, Found]
"""What was found, by the name of its group."""


def tables(groups: Sequence[Group], results: Results, setting: Setting) -> str:
    """All as text: the ratios with their targets first."""
    lines = [f"{'ratio':<66}{'median':>8}{'middle half':>16}{'target':>15}"]
    for group in groups:
        lines += [_ratio_row(ratio, results[group.name]) for ratio in group.ratios]
    for group in groups:
        found = results[group.name]
        lines += ["", f"{group.text} ({group.name})"]
        lines += [_way_row(found, name) for name in found.ways]
    lines += ["", *(f"- {note}" for note in setting.notes)]
    return "\n".join(lines)


def _ratio_row(ratio: Ratio, found: Found) -> str:
    each = found.ratio(ratio)
    if not each:
        return f"{ratio.text:<66}{'not measured':>12}"
    median = statistics.median(each)
    row = f"{ratio.text:<66}{median:>8.2f}{middle_half(each, '.2f'):>16}"
    if ratio.target():
        row += f"{ratio.target():>15}  {'met' if ratio.is_met(median) else 'missed'}"
    return row


def _way_row(found: Found, name: str) -> str:
    way = found.ways[name]
    if name in found.failed:
        return f"  {way.text:<64}  failed: {found.failed[name]}"
    results = found.results[name]
    digits = digits_for(results)
    middle = format(statistics.median(results), digits)
    return f"  {way.text:<64}{middle:>12} {way.unit:<11}{middle_half(results, digits):>18}"


def digits_for(results: Sequence[float]) -> str:
    return ",.0f" if statistics.median(results) >= 100 else ",.2f"


def middle_half(results: Sequence[float], digits: str) -> str:
    if len(results) < 2:
        return ""
    low, _, high = statistics.quantiles(results, n=4, method="inclusive")
    return f"({low:{digits}}-{high:{digits}})"


def write(path: Path, results: Results, setting: Setting) -> None:
    """Write every result of every round, with what it was measured on."""
    groups: dict[str, Any] = {}
    for name, found in results.items():
        groups[name] = {
            each: {
                "text": way.text,
                "unit": way.unit,
                "results": found.results.get(each, []),
                "failed": found.failed.get(each),
            }
            for each, way in found.ways.items()
        }
    whole = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine()),
        "seconds": setting.seconds,
        "notes": setting.notes,
        "groups": groups,
        "samples": setting.samples,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1))


def machine() -> Iterator[tuple[str, str]]:
    """What this is measured on, and with."""
    yield "system", platform.platform()
    yield "processor", _processor()
    yield "cores", str(os.cpu_count())
    yield "Python", platform.python_version()
    yield "Redis", str(find_binary())
    yield "client", load.client()
    for package in PACKAGES:
        yield package, version(package)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
