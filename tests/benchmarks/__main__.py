"""All benchmarks in one run: `make bench`, or with options `make bench ARGS="--only single"`.

Every group of figures starts what it needs, measures its ways in turn, round after
round (each second round in the reverse order), and stops it all. Ratios are taken within
a round. Nothing is asked of any machine but this one.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from tests.benchmarks import (
    beside,
    burden,
    crowd,
    document,
    joins,
    profiles,
    single,
    volume,
    wakeup,
)
from tests.benchmarks.measure import Found, Group, Setting, Way
from tests.benchmarks.progress import Progress
from tests.benchmarks.report import tables, write
from tests.benchmarks.scaling import measuring, pages
from tests.benchmarks.scaling.costs import Costs

GROUPS = (
    volume.VOLUME,
    volume.SIZE,
    single.SINGLE,
    wakeup.WAKE_UP,
    crowd.CROWDS,
    crowd.MEMORY,
    burden.BACKLOG,
    burden.ELSEWHERES,
    beside.BESIDE,
)
# A program of its own, whose rounds are many and short: it comes last.
JOINS = Group("joins", "Joins that do not match", nullcontext, rounds=20, guess=4)
# For docs/scaling.md: processor time, by steps.
SCALING = Group(
    "scaling", "What each step costs, for any number of nodes", nullcontext, rounds=3, guess=120
)
OUTPUT = Path("build/bench")
SECONDS = 1.0


def measure(group: Group, rounds: int, setting: Setting, progress: Progress) -> Found:
    """Measure all ways of a group in turn, so often.

    A way that fails is left out from then on; whatever the others give stays.
    """
    found = Found()
    progress.group("starting")
    try:
        with group.open(setting) as ways:
            found.ways = ways
            for number in range(1, rounds + 1):
                order = list(ways.items())
                for name, way in order if number % 2 else reversed(order):
                    if name not in found.failed:
                        progress.way(number, way.text)
                        _measure(found, name, way)
    except (OSError, RuntimeError) as error:
        found.failed["start"] = str(error)
        setting.note(f"{group.name} failed: {error}")
    return found


def _measure(found: Found, name: str, way: Way) -> None:
    try:
        found.results.setdefault(name, []).append(way.measure())
    except (OSError, RuntimeError) as error:
        found.failed[name] = str(error)
        del found.results[name]


def run(groups: Sequence[Group], asked: argparse.Namespace) -> bool:
    """Measure, print and write everything; tell whether all could be measured."""
    # Nothing may be left running because the terminal was closed, or somebody ends us.
    for what in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(what, _end)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also behind a shell's `&`
    chosen = [(group, asked.rounds or group.rounds) for group in groups]
    progress = Progress(chosen)
    scratch = Path(tempfile.mkdtemp(prefix="restms-bench-"))
    setting, results = Setting(asked.seconds, scratch), {}
    curve: joins.Found | None = None
    costs: Costs | None = None
    try:
        for group, rounds in chosen:
            setting.directory = scratch / group.name
            setting.directory.mkdir()
            if group is JOINS:
                progress.group(f"{rounds} rounds")
                curve = _joins(rounds, setting)
            elif group is SCALING:
                progress.group(f"{rounds} rounds, and what rests")
                costs = _scaling(rounds, asked.output, setting)
            else:
                results[group.name] = measure(group, rounds, setting, progress)
            progress.ended()
            shutil.rmtree(setting.directory, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    measured = [group for group in groups if group not in (JOINS, SCALING)]
    print(tables(measured, results, setting))
    if curve is not None:
        print(f"\n{JOINS.text}\n{joins.report(curve)}")
    write(asked.output / "results.json", results, setting)
    if costs is not None:
        print("\n".join(pages.summary(costs)))
    # The figures in a document are all of one run.
    whole = asked.docs is not None and curve is not None and len(groups) == len(GROUPS) + 2
    images = asked.docs / "images" if whole else asked.output
    if find_spec("matplotlib") is not None:
        from tests.benchmarks import plots

        plots.draw(results, setting, images)
        if curve is not None:
            joins.plot(curve, images / "joins.svg")
    if whole:
        document.update(asked.docs / "performance.md", document.tables(measured, results, curve))
        pages.renew(costs, asked.docs)
    print(f"\nEvery result is in {asked.output}/results.json; the plots are in {images}.")
    failed = (JOINS in groups and curve is None) or (SCALING in groups and costs is None)
    return not failed and not any(found.failed for found in results.values())


def _joins(rounds: int, setting: Setting) -> joins.Found | None:
    try:
        return joins.measured(rounds)
    except* (OSError, RuntimeError) as errors:
        setting.note(f"{JOINS.name} failed: {errors.exceptions[0]}")
    return None


def _scaling(rounds: int, output: Path, setting: Setting) -> Costs | None:
    try:
        return measuring.measured(rounds, output / "scaling.jsonl")
    except* (OSError, RuntimeError) as errors:
        setting.note(f"{SCALING.name} failed: {errors.exceptions[0]}")
    return None


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    groups = (*GROUPS, JOINS, SCALING)
    names = [group.name for group in groups]
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the groups of figures")
    parser.add_argument("--only", default=",".join(names), metavar="A,B", help="these groups")
    parser.add_argument("--rounds", type=int, help="so many rounds of each", metavar="N")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="for each way in a round (%(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="where all results go (%(default)s)"
    )
    parser.add_argument(
        "--docs", type=Path, help="where a run of everything puts its tables and plots"
    )
    parser.add_argument(
        "--profile", action="store_true", help="profile the hot paths instead of measuring"
    )
    asked = parser.parse_args()
    if asked.list:
        for group in groups:
            print(f"{group.name:<12}{group.text} ({group.rounds} rounds)")
        return
    if asked.profile:
        profiles.run(asked.output)
        return
    if asked.seconds <= 0 or (asked.rounds is not None and asked.rounds < 1):
        parser.error("seconds and rounds are positive numbers")
    wanted = asked.only.split(",")
    if unknown := set(wanted) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; --list tells what there is")
    try:
        done = run([group for group in groups if group.name in wanted], asked)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; everything that was started has been stopped.")
    sys.exit(not done)


if __name__ == "__main__":
    main()
