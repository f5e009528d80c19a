"""Fuzz for a while: make fuzz, or python -m tests.fuzz --seconds 60 [--seed 7] [target ...].

With atheris it is guided by what each input reaches; without, inputs are nearly good ones. What is
found is left in tests/fuzz/findings, which the tests run again.
"""

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from tests.fuzz.mutations import MOST_BYTES, inputs
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

FINDINGS = Path(__file__).parent / "findings"
SLOW_SECONDS = 1.0


def main() -> int:
    """Fuzz the targets one after the other; the exit status tells whether something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", default=[*TARGETS, "wire"], help="all, if none is named"
    )
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    options = parser.parse_args()
    guided = not options.plain and importlib.util.find_spec("atheris") is not None
    print(
        f"seed {options.seed}, {'guided by atheris' if guided else 'without guidance'}", flush=True
    )
    found = 0
    for name in options.targets:
        if name == "wire":
            from tests.fuzz.wire import fuzz

            found += fuzz(options.seconds, options.seed)
        elif guided:
            command = [sys.executable, "-m", "tests.fuzz.guided", name]
            command += [str(options.seconds), str(options.seed)]
            found += subprocess.run(command, check=False).returncode != 0
        else:
            found += not fuzzed(name, options.seconds, options.seed)
    return 1 if found else 0


def fuzzed(name: str, seconds: float, seed: int) -> bool:
    """Fuzz one target; tell whether all was well."""
    end, count = time.monotonic() + seconds, 0
    for data in inputs(Random(seed), SEEDS[name]):
        count += 1
        started = time.monotonic()
        try:
            TARGETS[name](data)
        except Exception as error:  # noqa: BLE001, whatever it is, it is a finding
            print(f"{name}: {error!r} on {kept(name, data)}")
            return False
        if time.monotonic() - started > SLOW_SECONDS:
            print(f"{name}: slow on {kept(name, data)}")
            return False
        if time.monotonic() > end:
            break
    print(f"{name}: {count} inputs, all well", flush=True)
    return True


def kept(name: str, data: bytes) -> Path:
    """Keep an input that found something."""
    path = FINDINGS / name / hashlib.sha256(data[:MOST_BYTES]).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main())
