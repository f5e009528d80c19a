"""Where a node's time goes on each hot path: py-spy's samples, by module and by function.

    make bench ARGS=--profile

The folded stacks, for a flame graph, are left beside the other results.
"""

import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from tests.benchmarks.broker import BATCH, cluster
from tests.benchmarks.burden import Backlog
from tests.benchmarks.parking import cpu_seconds
from tests.benchmarks.single import filled, post, take_from
from tests.benchmarks.volume import publish_to_new_pipe
from tests.benchmarks.wakeup import wake_up
from tests.benchmarks.wire import CBOR
from tests.nodes import Cluster

SECONDS = 4
SAMPLES = 500  # a second
TOP = 10
DEEP = 600_000  # messages: more than are read in the time
Work = Callable[[], object]
WAITING = "get_events"  # the function of Trio's in which a node waits for something to do


def _publish_single(nodes: Cluster) -> Work:
    return lambda: post(nodes.urls[0], SECONDS)


def _publish_batch(nodes: Cluster) -> Work:
    return lambda: publish_to_new_pipe(nodes.urls[0], SECONDS, BATCH, CBOR)


def _read_single(nodes: Cluster) -> Work:
    pipes = filled(nodes.urls[0], SECONDS)
    return lambda: take_from(nodes.urls[0], pipes, SECONDS)


def _read_batch(nodes: Cluster) -> Work:
    backlog = Backlog(nodes.urls[1], DEEP)
    return lambda: backlog.take(SECONDS)


def _wait(nodes: Cluster) -> Work:
    return lambda: wake_up(nodes.urls, SECONDS, [])


# What is done, and which of the two nodes is looked at. What comes before is not.
PATHS: dict[str, tuple[int, Callable[[Cluster], Work]]] = {
    "publish single": (0, _publish_single),
    "publish batch": (0, _publish_batch),
    "read single": (0, _read_single),
    "read batch": (1, _read_batch),
    "wait": (1, _wait),
}


def run(output: Path) -> None:
    """Profile all paths, and print what takes the time."""
    output.mkdir(parents=True, exist_ok=True)
    ours = str(Path(sys.executable).parent)
    program = shutil.which("py-spy", path=ours) or shutil.which("py-spy")
    if program is None:
        sys.exit("py-spy is not installed (pip install '.[bench]')")
    for name, (place, prepare) in PATHS.items():
        print(f"profiling: {name}", file=sys.stderr)
        file = output / f"profile-{name.replace(' ', '-')}.folded"
        with cluster(2) as nodes:
            work = prepare(nodes)
            command = [
                *(program, "record", "--format", "raw", "--output", str(file), "--nonblocking"),
                *("--rate", str(SAMPLES), "--duration", str(SECONDS)),
                *("--pid", str(nodes.nodes[place].process.pid)),
            ]
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ) as spy:
                before = _cpu_seconds(nodes)
                work()
                after = _cpu_seconds(nodes)
                _, errors = spy.communicate(timeout=SECONDS + 30)
        if spy.returncode:
            sys.exit(f"py-spy: {errors}")
        took = after.pop("time") - before.pop("time")
        shares = (f"{who} {(after[who] - before[who]) / took:.2f}" for who in after)
        print(f"\n{name}: {summary(file.read_text())}\n  cores: {', '.join(shares)}")


def _cpu_seconds(nodes: Cluster) -> dict[str, float]:
    """The processor's time that each has had, and the time."""
    found = {node.name: cpu_seconds(node.process.pid) for node in nodes.nodes}
    found["Valkey"] = cpu_seconds(nodes.redis._process.pid)
    client = resource.getrusage(resource.RUSAGE_SELF)
    found["client, but for wrk"] = client.ru_utime + client.ru_stime
    found["time"] = time.monotonic()
    return found


def summary(folded: str) -> str:
    """The modules and functions with most time of their own, in percent of the node's work."""
    modules: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    waited = 0
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        function, _, place = stack.rpartition(";")[2].partition(" (")
        if function.endswith(WAITING):
            waited += int(count)
            continue
        module = _package(place.partition(":")[0])
        modules[module] += int(count)
        functions[f"{function} ({module})"] += int(count)
    whole = modules.total() or 1
    rows = zip_longest(
        (f"{100 * n / whole:5.1f}  {name}" for name, n in modules.most_common(TOP)),
        (f"{100 * n / whole:5.1f}  {name}" for name, n in functions.most_common(TOP)),
        fillvalue="",
    )
    idle = 100 * waited / (whole + waited)
    lines = [f"waited for something to do in {idle:.0f} % of the samples; of the rest, in %:"]
    return "\n".join([*lines, *(f"  {left:<36}{right}" for left, right in rows)])


def _package(path: str) -> str:
    """The name that a file goes by: its package, and for ours the module as well."""
    parts = path.removesuffix(".py").split("/")
    for ours in ("restms_node", "restms_cluster"):
        if ours in parts:
            return ".".join(parts[parts.index(ours) :])
    return parts[0] if len(parts) > 1 else path
