"""Measuring what a domain takes in Redis, where it has a quota of bytes.

The scripts count what is stored; what goes is only found by measuring (`lib_quota.lua`).
One node at a time measures a domain, in short calls and with pauses between them, so that
others find Redis free. It begins anew every few seconds, and sooner where somebody was refused:
whoever makes room is not to wait for it long. Nothing else is remembered, so a measure
that breaks off does no harm.
"""

import logging

import trio

from restms_cluster.broker import MILLISECONDS, Broker
from restms_cluster.errors import RestMSError
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import DomainMeasure

LEASE_SECONDS = 5.0  # without a sign of the node that measures, another may
IDLE = 3  # how much longer the pause after a call is than the call
LONGEST_PAUSE_SECONDS = 1.0
SELDOM = 10  # how much longer the time between two measures is than one, where nobody is refused
SOON_SECONDS = 0.2  # between two measures in any case

_log = logging.getLogger("restms.measure")


async def measure(broker: Broker, domain: str) -> bool:
    """Measure a domain; False where another node does, or where the domain has moved meanwhile."""
    lease = int(LEASE_SECONDS * MILLISECONDS)
    step = DomainMeasure(domain, broker.node, lease)
    while True:
        begun = trio.current_time()
        answer = await broker.run(step)
        if answer.outcome is not Outcome.MORE:
            return answer.outcome is Outcome.OK
        state, *names = answer.values
        step = DomainMeasure(domain, broker.node, lease, state, tuple(names))
        took = trio.current_time() - begun
        await trio.sleep(min(IDLE * took, LONGEST_PAUSE_SECONDS))


async def run(broker: Broker, domain: str, seconds: float) -> None:
    """Measure a domain every so many seconds, and when there is no room in it, for ever."""
    while True:
        broker.shortages.forget(domain)
        begun, done = trio.current_time(), True
        try:
            done = await measure(broker, domain)
        except RestMSError as error:
            _log.warning("the domain %s is not measured: %s", domain, error)
        took = trio.current_time() - begun
        await trio.sleep(max(SOON_SECONDS, took))
        await broker.shortages.wait(domain, max(seconds, SELDOM * took) if done else seconds)
