"""Surveys of what a domain holds: how many messages, how old the oldest is, and how many pipes.

The node that sweeps a domain makes them, and no other, so that each domain is told of once. One is
made in short calls with pauses between them, as a measure is (`measure.py`), never in a request.
"""

import logging

import trio

from restms_cluster.broker import Broker
from restms_cluster.counts import Holding
from restms_cluster.errors import RestMSError
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import DomainSurvey

BEGIN = "pipes 0 0 0"
IDLE = 3  # how much longer the pause after a call is than the call
LONGEST_PAUSE_SECONDS = 1.0
SELDOM = 10  # how much longer the time between two surveys is than one
MICROSECONDS = 1_000_000

_log = logging.getLogger("restms.survey")


async def survey(broker: Broker, domain: str) -> Holding | None:
    """Return what a domain holds; None where another node sweeps it."""
    state: str | bytes = BEGIN
    while True:
        begun = trio.current_time()
        answer = await broker.run(DomainSurvey(domain, broker.node, state))
        if answer.outcome is Outcome.HELD:
            return None
        if answer.outcome is not Outcome.MORE:
            messages, age, pipes = answer.values
            return Holding(messages, age / MICROSECONDS, pipes)
        (state,) = answer.values
        await trio.sleep(min(IDLE * (trio.current_time() - begun), LONGEST_PAUSE_SECONDS))


async def run(broker: Broker, domain: str, seconds: float) -> None:
    """Survey one domain every so many seconds while this node sweeps it, for ever."""
    took = 0.0
    while True:
        await trio.sleep(max(seconds, SELDOM * took))
        begun = trio.current_time()
        if not broker.counts.is_sweeping(domain):
            continue
        try:
            holding = await survey(broker, domain)
        except RestMSError as error:
            _log.warning("no survey of the domain %s: %s", domain, error)
            continue
        if holding is not None:
            broker.counts.surveyed(domain, holding)
        took = trio.current_time() - begun
