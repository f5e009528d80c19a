"""Where a node's time goes on each hot path: py-spy's samples, by module and by function.

    make bench ARGS=--profile

The folded stacks, for a flame graph, are left beside the other results.
"""

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.broker import BATCH, cluster
from tests.benchmarks.single import post, take
from tests.benchmarks.volume import EndToEnd, publish_to_new_pipe
from tests.benchmarks.wakeup import wake_up
from tests.benchmarks.wire import CBOR
from tests.nodes import Cluster

SECONDS = 4.0
SAMPLES = 500  # a second
TOP = 12
Path_ = Callable[[Cluster], object]
# What is done, and which of the two nodes is looked at.
PATHS: dict[str, tuple[int, Path_]] = {
    "publish single": (0, lambda nodes: post(nodes.urls[0], SECONDS)),
    "publish batch": (0, lambda nodes: publish_to_new_pipe(nodes.urls[0], SECONDS, BATCH, CBOR)),
    "read single": (0, lambda nodes: take(nodes.urls[0], SECONDS)),
    "read batch": (1, lambda nodes: _move(nodes.urls)),
    "wait": (1, lambda nodes: wake_up(nodes.urls, SECONDS, [])),
}


def _move(urls: list[str]) -> None:
    way = EndToEnd(urls, 1.0)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        way.measure()


def run(output: Path) -> None:
    """Profile all paths, and print what takes the time."""
    output.mkdir(parents=True, exist_ok=True)
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which(
        "py-spy"
    )
    if program is None:
        sys.exit("py-spy is not installed (pip install '.[bench]')")
    for name, (place, work) in PATHS.items():
        print(f"profiling: {name}", file=sys.stderr)
        file = output / f"profile-{name.replace(' ', '-')}.folded"
        with cluster(2) as nodes:
            command = [
                *(program, "record", "--format", "raw", "--output", str(file)),
                *("--rate", str(SAMPLES), "--duration", str(round(SECONDS)), "--nonblocking"),
                *("--pid", str(nodes.nodes[place].process.pid)),
            ]
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as spy:
                work(nodes)
                _, errors = spy.communicate(timeout=SECONDS + 30)
        if spy.returncode:
            sys.exit(f"py-spy: {errors}")
        print(f"\n{name}: what the node did, in % of its busy time\n{summary(file.read_text())}")


def summary(folded: str) -> str:
    """The modules and functions with most time of their own, in percent of all samples."""
    modules: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        leaf = stack.rpartition(";")[2]
        function, _, place = leaf.partition(" (")
        module = _package(place.partition(":")[0])
        modules[module] += int(count)
        functions[f"{function} ({module})"] += int(count)
    whole = sum(modules.values()) or 1
    left = [f"{100 * n / whole:5.1f}  {name}" for name, n in modules.most_common(TOP)]
    right = [f"{100 * n / whole:5.1f}  {name}" for name, n in functions.most_common(TOP)]
    rows = max(len(left), len(right))
    left += [""] * (rows - len(left))
    right += [""] * (rows - len(right))
    return "\n".join(f"  {a:<36}{b}" for a, b in zip(left, right, strict=True))


def _package(path: str) -> str:
    """The name that a file goes by: its package, and for ours the module as well."""
    parts = path.removesuffix(".py").split("/")
    for ours in ("restms_node", "restms_cluster"):
        if ours in parts:
            return ".".join(parts[parts.index(ours) :])
    return parts[0] if len(parts) > 1 else path
