"""How many requests a second a server answers: by wrk where it is installed, else by `Clients`.

Both sides of a ratio are always loaded by the same client.
"""

import math
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.wire import AnswerError

CONNECTIONS = 16
GRACE_SECONDS = 30
SCRIPT = Path(__file__).with_suffix(".lua")
NAME, TURN = b"@NAME@", b"@TURN@"


@dataclass(frozen=True)
class Load:
    """What each connection sends, again and again, the next when the last is answered.

    With names, each connection has one of its own, which stands for @NAME@ in its
    requests; @TURN@ is the number of the turn, from 1.
    """

    requests: tuple[bytes, ...]
    names: tuple[str, ...] = ()


def rate(url: str, load: Load, seconds: float) -> float:
    """Return how many requests a second are answered, all of them well."""
    if wrk := shutil.which("wrk"):
        return _wrk(wrk, url, load, seconds)
    return _clients(url, load, seconds)


def client() -> str:
    """Tell which client it is."""
    return "wrk" if shutil.which("wrk") else "our own client (wrk is not installed)"


def _wrk(wrk: str, url: str, load: Load, seconds: float) -> float:
    with TemporaryDirectory(prefix="restms-bench-") as directory:
        requests, names = Path(directory) / "requests", Path(directory) / "names"
        requests.write_bytes(b"".join(b"%d\n%s" % (len(raw), raw) for raw in load.requests))
        names.write_text("\n".join(load.names))
        command = [
            *(wrk, f"-t{CONNECTIONS}", f"-c{CONNECTIONS}", f"-d{math.ceil(seconds)}s"),
            *("--timeout", "60s", "-s", str(SCRIPT), url, "--", str(requests), str(names)),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False
        )
    line = done.stdout.rpartition("\ndone ")[2].split()
    if done.returncode or len(line) != 4:
        raise AnswerError(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    answered, microseconds, bad, broken = (int(word) for word in line)
    if bad or broken or not answered:
        raise AnswerError(f"wrk: {answered} answers, {bad} of them bad, {broken} broken")
    return answered / microseconds * 1e6


def _clients(url: str, load: Load, seconds: float) -> float:
    done = 0

    def talk(name: str, end: float) -> Conversation:
        nonlocal done
        named = [raw.replace(NAME, name.encode()) for raw in load.requests]
        turning = any(TURN in raw for raw in named)
        for turn in count(1):
            for raw in named:
                if time.perf_counter() >= end:
                    return
                yield raw.replace(TURN, b"%d" % turn) if turning else raw
                done += 1

    names: Sequence[str] = load.names or [""] * CONNECTIONS
    with Clients(url, CONNECTIONS) as clients:
        began = time.perf_counter()
        clients.run([talk(name, began + seconds) for name in names])
        return done / (time.perf_counter() - began)
