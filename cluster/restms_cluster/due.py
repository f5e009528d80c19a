"""What is due: fan-outs not finished, delayed and expired messages, queues to hand out.

It is all in Redis, and any node does it: whoever asks first. A node asks when
a hint says that something is due, when the next thing it knows of is, and
so often in any case that some node does every second (`turns.py`): what a
killed node left is soon taken up.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from restms_cluster import turns
from restms_cluster.broker import MILLISECONDS, Broker
from restms_cluster.errors import RestMSError
from restms_cluster.keys import due_key
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import DomainDue

ASK_SECONDS = 1.0
# A node that came too late last time gives the others a little more time: so
# mostly one of them asks when something is due, and all do when that one is gone.
LATE_SECONDS = 0.01

Wakeup: TypeAlias = Callable[[float], Awaitable[bool]]

_log = logging.getLogger("restms.due")


async def do(broker: Broker, domain: str) -> tuple[int, float]:
    """Do all that is due. Returns how many delayed messages were fired, and when to ask again.

    That is in so many seconds: when the next thing is due, or else when it is this node's turn.
    """
    fired = 0
    while True:
        answer = await broker.run(DomainDue(domain, broker.node, broker.bounds))
        fired += int(answer.values[0])
        for late in answer.values[2]:
            broker.counts.messages[domain].lateness.add(late / MILLISECONDS)
        if answer.outcome is not Outcome.MORE:
            nodes = broker.shards.home(domain).nodes
            due, turn = int(answer.values[1]) / MILLISECONDS, turns.share(ASK_SECONDS, nodes)
            if not 0 <= due < turn:
                return fired, turn
            return fired, due if fired else due + turns.lateness(LATE_SECONDS, nodes)
        await trio.lowlevel.checkpoint()


async def run(broker: Broker, domain: str) -> None:
    """Do what is due in one domain, for ever."""
    while True:
        async with broker.shards.watch(due_key(domain)) as watch:
            try:
                await _until_out_of_reach(broker, domain, watch.wakeup)
            except RestMSError as error:
                _log.warning("what is due in the domain %s waits: %s", domain, error)
        await trio.sleep(ASK_SECONDS)


async def _until_out_of_reach(broker: Broker, domain: str, wakeup: Wakeup) -> None:
    while True:
        fired, rest = await do(broker, domain)
        hinted = await wakeup(rest)
        nodes = broker.shards.home(domain).nodes
        if hinted and not fired and nodes > turns.LOOKERS:
            await trio.sleep(turns.lateness(LATE_SECONDS, nodes))
