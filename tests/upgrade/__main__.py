"""A rolling upgrade under load, and an account of every message and answer: `make upgrade`.

Three nodes behind HAProxy are replaced one by one, by those of a later version, and these by
today's again, round after round, while all kinds of publishers and readers go on. The exit
status is 1 where anything was lost or out of order, or a client had an answer (or none) that
it is not told to repeat.
"""

import argparse
import sys

import trio

from tests.chaos.balancer import find_haproxy
from tests.upgrade.rolling import Plan, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="make upgrade ARGS=...", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="of all nodes (%(default)s)")
    parser.add_argument(
        "--rate", type=float, default=100.0, help="messages posted a second (%(default)g)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is posted (%(default)s)")
    parser.add_argument("--log", action="store_true", help="tell what the nodes logged")
    asked = parser.parse_args()
    if asked.rounds <= 0 or asked.rate <= 0:
        parser.error("rounds and rate are positive numbers")
    if find_haproxy() is None:
        sys.exit("HAProxy is missing: on Debian and Ubuntu, install haproxy.")
    plan = Plan(asked.rounds, asked.rate, asked.seed)
    account = trio.run(run, plan, lambda text: print(text, flush=True))
    if account.broken or asked.log:
        print("\n".join([account.log, "The time line:", *account.ledger.timeline]))
    print(account.report())
    sys.exit(account.broken)


if __name__ == "__main__":
    main()
