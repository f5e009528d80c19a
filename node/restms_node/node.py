"""What the resources of one node share."""

from dataclasses import dataclass, field

from restms_cluster.broker import Broker
from restms_node.access import Access
from restms_node.config import Settings
from restms_node.exchange import Request
from restms_node.waiting import Waits


@dataclass(frozen=True, slots=True)
class Node:
    """The broker, the waits that are parked here, the settings, and who comes in."""

    broker: Broker
    waits: Waits
    settings: Settings
    access: Access = field(default_factory=Access)

    def wait_seconds(self, request: Request) -> int:
        """Return how long a request may wait: what it prefers, up to the server's maximum."""
        if request.method == "HEAD":
            return 0
        longest = int(self.settings.wait_seconds)
        preferred = request.prefer.wait
        return longest if preferred is None else min(preferred, longest)
