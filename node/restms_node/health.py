"""Health: is the process alive, and should it be given requests?"""

import trio

from restms_cluster import member
from restms_cluster.errors import RestMSError
from restms_node.exchange import Answer
from restms_node.node import Node
from restms_node.problems import sentence

FRESH_SECONDS = 1.0


class Health:
    """Answers /livez and /readyz. A self-test counts for a second, so probes cost little."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._testing = trio.Lock()
        self._tested = float("-inf")
        self._ready = False

    async def live(self) -> Answer:
        """Answer /livez: the process runs."""
        return sentence(200, "alive")

    async def ready(self) -> Answer:
        """Answer /readyz: Redis answers, hints arrive, and the node does not drain."""
        if self._node.waits.draining:
            return sentence(503, "This node is going down.")
        async with self._testing:
            if trio.current_time() - self._tested >= FRESH_SECONDS:
                self._ready = await self._test()
                self._tested = trio.current_time()
        if self._ready:
            return sentence(200, "ready")
        return sentence(503, "Redis cannot be reached, or its notifications do not arrive.")

    async def _test(self) -> bool:
        try:
            return await member.ready(self._node.broker)
        except RestMSError:
            return False
