"""How often one node looks for what any of them may do, so that not all of them do at once.

Nodes do not know each other. But each listens to the hints of what is due in its domains, so a
server can tell how many there are. Were each to look every second, a hundred nodes with a
hundred domains would have Redis do nothing else.
"""

import random

from redis.exceptions import ResponseError

from restms_cluster.keys import due_key
from restms_cluster.shard import Shard

LOOKERS = 3  # how many look in a node's own time; where there are no more, each does
MOST = 10  # times that long one rests at most: so many of the others may be gone at once


async def count(shard: Shard) -> int:
    """Return how many nodes have the shard's domains; 1 where the server does not tell.

    Raises StateUnavailableError where it is out of reach.
    """
    try:
        reply = await shard.connection.call("PUBSUB", "NUMSUB", due_key(min(shard.domains)))
    except ResponseError:
        return 1  # a user who may not ask: then each looks as if it were alone
    found = reply[1] if isinstance(reply, list) and len(reply) > 1 else 1
    return max(1, found) if isinstance(found, int) else 1


def share(seconds: float, nodes: int) -> float:
    """Return when to look again for what somebody is to look for in that time, by chance."""
    if nodes <= LOOKERS:
        return seconds
    return seconds * min(nodes / LOOKERS, MOST) * random.uniform(0.5, 1.5)


def lateness(seconds: float, nodes: int) -> float:
    """Return how much time to leave the others, by chance: the more there are, the more.

    So of three nodes as of a hundred some come at once, and what the others ask in vain is bounded.
    """
    return seconds * min(max(1.0, nodes / LOOKERS), MOST) * random.random()
