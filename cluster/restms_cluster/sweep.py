"""Housekeeping: idle pipes are collected, and what was deleted is freed.

One node at a time does it for a domain: the one that holds the domain's
lease, which expires when its node dies. It also puts back the
configured feeds, so that even a wiped Redis heals by itself.
"""

import logging
import time

import trio

from restms_cluster import domains, turns
from restms_cluster.broker import MILLISECONDS, Broker
from restms_cluster.errors import RestMSError, StartError
from restms_cluster.model import ConfiguredDomain
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import DomainSweep

PIPES_A_ROUND = 20  # collected in one script call, each with its joins

_log = logging.getLogger("restms.sweep")


async def sweep(broker: Broker, domain: str, lease_seconds: float) -> int | None:
    """Do one domain's housekeeping. Returns the pipes collected; None if another has the lease."""
    collected = 0
    lease = int(lease_seconds * MILLISECONDS)
    while True:
        begun = trio.current_time()
        answer = await broker.run(
            DomainSweep(domain, broker.node, lease, PIPES_A_ROUND, broker.idle, broker.bounds)
        )
        if answer.outcome is Outcome.HELD:
            broker.counts.sweeps_no_more(domain)
            return None
        broker.counts.sweeps(domain, time.time(), begun + lease_seconds)
        idle, *counted = answer.values
        collected += int(idle)
        _count(broker, domain, *counted)
        if answer.outcome is not Outcome.MORE:
            return collected


def _count(
    broker: Broker,
    domain: str,
    lost: int,
    unroutable: int,
    routed: int,
    redelivered: int,
    expired: int,
    dead_lettered: int,
) -> None:
    """Take over what the scripts counted since the last sweep, whoever called them."""
    counts = broker.counts.messages[domain]
    counts.lost += lost
    counts.unroutable += unroutable
    counts.routed += routed
    counts.redelivered += redelivered
    counts.expired += expired
    counts.dead_lettered += dead_lettered
    if lost:
        _log.warning(
            "messages of the domain %s that found no room, in no dead-letter feed either: %d",
            domain,
            lost,
        )


async def run(broker: Broker, domain: ConfiguredDomain, seconds: float) -> None:
    """Sweep one domain every so many seconds, for ever."""
    pause = seconds
    while True:
        await trio.sleep(pause)
        pause = seconds
        try:
            # First what frees memory: the rest may not be possible without it.
            collected = await sweep(broker, domain.name, 3 * seconds)
            if collected is None:
                pause = turns.share(seconds, broker.shards.home(domain.name).nodes)
                continue
            await domains.configure(broker, domain)
        except (RestMSError, StartError) as error:
            _log.warning("no sweep of the domain %s: %s", domain.name, error)
            continue
        if collected:
            _log.info("pipes of the domain %s collected as idle: %d", domain.name, collected)
