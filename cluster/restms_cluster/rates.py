"""Rates: how much somebody may do in a time, counted by all nodes together."""

import hashlib
import math
from dataclasses import dataclass

from restms_cluster.broker import Broker
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import RateTake

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`quota` in any `window` (seconds) at a steady pace, and as many at once after a pause."""

    quota: int
    window: int

    def __str__(self) -> str:
        for unit, seconds in (("h", 3600), ("m", 60)):
            if self.window % seconds == 0:
                times = self.window // seconds
                return f"{self.quota}/{times if times > 1 else ''}{unit}"
        return f"{self.quota}/{self.window if self.window > 1 else ''}s"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a wish: `left` can be had now, and all of the quota in `full` seconds.

    `after` is 0 where it was granted; else the seconds until a repeat will be.
    """

    left: int
    full: int
    after: float = 0


async def take(broker: Broker, domain: str, rate: Rate, kind: str, who: str, cost: int) -> Taken:
    """Take `cost` of what somebody may do in a domain, all of it or none; less than 0 gives back.

    Raises StateUnavailableError where Redis cannot be asked, NotFoundError
    without the domain. More than the rate's quota can never be had.
    """
    window = rate.window * MICROSECONDS
    bucket = _bucket(rate, kind, who)
    answer = await broker.run(RateTake(domain, "", bucket, rate.quota, window, cost))
    left, full, *after = answer.values
    wait = after[0] / MICROSECONDS if answer.outcome is Outcome.TOO_MANY else 0
    return Taken(left, math.ceil(full / MICROSECONDS), wait)


def _bucket(rate: Rate, kind: str, who: str) -> str:
    """Return the name of a bucket; of another rate it is another, for its shares are others."""
    return hashlib.blake2b(f"{kind} {rate} {who}".encode(), digest_size=16).hexdigest()
