"""Faults of every kind under load, and an account of every message: `make chaos`.

Three nodes behind HAProxy, on a Redis of their own. Publishers number their messages,
readers read in every way there is, and all do what the protocol tells clients to do. The same
seed makes the same plan of faults. The exit status is 1 where anything was not as promised.
"""

import argparse
import sys

import trio

from tests.chaos import faults
from tests.chaos.balancer import find_haproxy
from tests.chaos.run import Plan, run
from tests.chaos.setting import KINDS

SECONDS, RATE = 120.0, 100.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=...", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the settings and the faults")
    parser.add_argument("--setting", choices=KINDS, default="always", help="how Redis is run")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of faults (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of the plan (%(default)s)")
    parser.add_argument("--only", metavar="A,B", help="these faults; without it, all")
    parser.add_argument(
        "--rate", type=float, default=RATE, help="messages posted a second (%(default)g)"
    )
    parser.add_argument(
        "--crowd", type=int, default=0, help="pipes on one more feed, say 600 (%(default)s)"
    )
    parser.add_argument("--log", action="store_true", help="tell the time line in any case")
    asked = parser.parse_args()
    kind = KINDS[asked.setting]
    names = faults.possible(sentinel=kind.sentinel)
    if asked.list:
        print("\n".join(f"{kind.name:<16}{kind.text}" for kind in KINDS.values()))
        print("\n" + "\n".join(faults.FAULTS))
        return
    wanted = asked.only.split(",") if asked.only else names
    if unknown := set(wanted) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))} here; --list tells what there is")
    if asked.seconds <= 0 or asked.rate <= 0:
        parser.error("seconds and rate are positive numbers")
    if find_haproxy() is None:
        sys.exit("HAProxy is missing: on Debian and Ubuntu, install haproxy.")
    plan = Plan(kind, asked.seconds, asked.seed, wanted, asked.rate, asked.crowd, asked.log)
    print(f"{kind.text}; --seed {plan.seed}", flush=True)
    ledger = trio.run(run, plan, lambda text: print(text, flush=True))
    print(ledger.report())
    sys.exit(ledger.broken)


if __name__ == "__main__":
    main()
