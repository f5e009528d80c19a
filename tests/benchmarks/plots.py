"""The figures that docs/performance.md shows, as SVG."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Found, Setting
from tests.benchmarks.report import Results
from tests.benchmarks.volume import KINDS, SIZES

MARKERS = ("o", "s", "^")
QUANTILES = 1000


def draw(results: Results, setting: Setting, directory: Path) -> list[Path]:
    """Draw what there are results for; return the files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "restms"
    plots: dict[str, tuple[bool, Callable[[Any], None]]] = {
        "publish": (_whole(results, "sizes"), lambda axes: sizes(axes, results["sizes"])),
        "volume": (_any(results, "volume"), lambda axes: bars(axes, results["volume"])),
        "single": (_any(results, "single"), lambda axes: bars(axes, results["single"])),
        "beside": (_any(results, "beside"), lambda axes: bars(axes, results["beside"])),
        "latency": (_whole(results, "wakeup"), lambda axes: latency(axes, setting)),
        "crowd": (_whole(results, "crowd"), lambda axes: crowd(axes, setting)),
    }
    return [
        drawn(directory / f"{name}.svg", plot) for name, (there, plot) in plots.items() if there
    ]


def sizes(axes: Any, found: Found) -> None:
    """Messages a second by messages in a request, a line for each media type."""
    for kind, marker in zip(KINDS, MARKERS, strict=True):
        heights = [found.median(f"{kind} {size}") for size in SIZES]
        axes.plot(SIZES, heights, marker=marker, label=kind)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.set_yticks([1000, 3000, 10_000, 30_000, 100_000])
    axes.set_xlabel("messages of 100 bytes in a request")
    axes.set_ylabel("messages a second")
    axes.legend(frameon=False)


def bars(axes: Any, found: Found) -> None:
    """Everything that a group measured, with the middle half of its rounds."""
    names = [name for name in found.ways if name not in found.failed][::-1]
    medians = [found.median(name) for name in names]
    spread = [_quartiles(found.results[name]) for name in names]
    low = [max(0.0, m - q[0]) for m, q in zip(medians, spread, strict=True)]
    high = [max(0.0, q[1] - m) for m, q in zip(medians, spread, strict=True)]
    axes.figure.set_size_inches(8, 1 + 0.4 * len(names))
    axes.barh(
        [found.ways[name].text for name in names],
        medians,
        xerr=(low, high),
        color=["C0" if _ours(found.ways[name].text) else "0.7" for name in names],
        error_kw={"ecolor": "0.3", "capsize": 2},
    )
    for place, median in enumerate(medians):
        axes.text(median + high[place], place, f" {median:,.0f}", va="center", fontsize=8)
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("a second")


def latency(axes: Any, setting: Setting) -> None:
    """How many of the measurements were done within a time."""
    for name, label in (
        ("trip", "bare Hypercorn: request and answer"),
        ("wake", "from the POST to the answer at another node"),
    ):
        steps = statistics.quantiles(setting.samples[name], n=QUANTILES, method="inclusive")
        axes.plot(steps, [100 * (n + 1) / QUANTILES for n in range(len(steps))], label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_ylim(0, 100)
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("% done within them")
    axes.legend(frameon=False, loc="lower right")


def crowd(axes: Any, setting: Setting) -> None:
    """How many of those who waited have their answer, after the POST."""
    times = sorted(setting.samples["crowd"])
    axes.plot(times, range(1, len(times) + 1))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("seconds since the POST")
    axes.set_ylabel("answers")


def _ours(text: str) -> bool:
    return not text.startswith(("ceiling", "bare", "Nchan", "RabbitMQ", "SQS"))


def _whole(results: Results, group: str) -> bool:
    return _any(results, group) and not results[group].failed


def _any(results: Results, group: str) -> bool:
    return group in results and bool(results[group].results)


def _quartiles(results: list[float]) -> tuple[float, float]:
    if len(results) < 2:
        return results[0], results[0]
    low, _, high = statistics.quantiles(results, n=4, method="inclusive")
    return low, high


def drawn(path: Path, plot: Callable[[Any], None]) -> Path:
    """Draw one plot in the style of all."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    axes.grid(axis="both", alpha=0.3)
    axes.set_axisbelow(True)
    plot(axes)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
    return path
