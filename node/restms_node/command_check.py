"""`restms check-config`: what would keep `restms serve` from starting, without starting it."""

import os
from collections.abc import Mapping

from restms_cluster.topology import parse_topology
from restms_node import audit, trace_switch
from restms_node.authenticators import make_access
from restms_node.exposure import place_of
from restms_node.options import load

COMMAND = "check-config"


def run(flags: Mapping[str, str]) -> int:
    """Read all that `serve` would read. Raises StartError with the first fault."""
    settings = load(flags, os.environ)
    if settings.redis:
        parse_topology(settings.redis)
    place_of(settings)
    make_access(settings)
    if settings.audit_log is not None:
        audit.check(settings.audit_log)
    trace_switch.check(settings)
    print("OK")  # noqa: T201
    return 0
