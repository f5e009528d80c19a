"""What the resources of one node share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from restms_cluster.broker import Broker
from restms_cluster.errors import UnauthorizedError, UnavailableError
from restms_cluster.model import Feed
from restms_cluster.names import FeedName
from restms_node.access import AUTHORIZATION, Access
from restms_node.access_log import AccessLog
from restms_node.audit import Audit
from restms_node.config import Settings
from restms_node.exchange import Request
from restms_node.gate import Gate, LapsedError, left
from restms_node.limiter import Limiter
from restms_node.rules import Verb
from restms_node.traffic import Traffic
from restms_node.waiting import LAPSED, TIMEOUT, Waits

if TYPE_CHECKING:  # its packages need not be there
    from restms_node.tracing import Tracing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """The broker, the waits that are parked here, the settings, and who comes in.

    Without a `gate` everybody may do everything; without an `audit` nothing is kept of it;
    without a `limiter` everybody may do so as often as he likes; without an `access_log`
    requests are not logged, and without `tracing` nothing is traced.
    """

    broker: Broker
    waits: Waits
    settings: Settings
    access: Access = field(default_factory=Access)
    gate: Gate | None = None
    audit: Audit | None = None
    limiter: Limiter | None = None
    traffic: Traffic = field(default_factory=Traffic)
    access_log: AccessLog | None = None
    tracing: "Tracing | None" = None

    def who(self, request: Request) -> str:
        """Return by what the waits of somebody are counted; empty where they are not."""
        return self.limiter.who(request) if self.limiter and self.limiter.asks else ""

    def wait_seconds(self, request: Request) -> int:
        """Return how long a request may wait: what it prefers, up to the server's maximum."""
        if request.method == "HEAD":
            return 0
        longest = int(self.settings.wait_seconds)
        preferred = request.prefer.wait
        return longest if preferred is None else min(preferred, longest)

    async def until(
        self,
        request: Request,
        hints: str,
        read: Callable[[], Awaitable[T | None]],
        reread: Callable[[], Awaitable[T | None]] | None = None,
    ) -> T | None:
        """Wait as Waits.until does, for as long as a request may; None where that time is over.

        Raises LapsedError as soon as its credentials end, and soon after they are gone.
        """
        seconds, good = self.wait_seconds(request), left(request.principal)
        if self.gate is not None:
            reread = self._while_good(request, reread or read)
        watched = request.watched
        found = await self.waits.until(
            hints,
            read,
            min(seconds, good),
            reread,
            watched,
            who=self.who(request),
            late=TIMEOUT if seconds <= good else LAPSED,
        )
        if found is None and good < seconds:
            raise self.lapsed()
        return found

    def _while_good(
        self, request: Request, read: Callable[[], Awaitable[T | None]]
    ) -> Callable[[], Awaitable[T | None]]:
        async def checked() -> T | None:
            await self.check(request)
            return await read()

        return checked

    async def check(self, request: Request) -> None:
        """Raise LapsedError where a request's credentials, once right, are no longer.

        It costs little, unless what they rest on has changed, or was not looked at for long.
        """
        if self.gate is None:
            return
        if left(request.principal) <= 0:
            raise self.lapsed()
        if AUTHORIZATION in request.headers:
            try:
                now = await self.access.principal(request.headers, request.peer)
            except UnauthorizedError:
                raise self.lapsed() from None
            except UnavailableError:
                return  # who was let in stays in until it can be told
            before = request.principal
            if (now.name, now.groups) != (before.name, before.groups):  # so may be what he may do
                raise self.lapsed()

    def lapsed(self) -> LapsedError:
        """Return the error of credentials that have ended since the request began."""
        text = "The credentials of this request are no longer good."
        return LapsedError(text, self.access.challenges)

    def seen(self, request: Request, feed: Feed) -> Feed:
        """Return a feed as who asks may see it: without a dead-letter feed that is not for him."""
        if self.gate is None or feed.dead_letter is None:
            return feed
        shown = self.gate.may(request.principal, Verb.INSPECT, feed.dead_letter)
        return feed if shown else replace(feed, dead_letter=None)

    def require_some(self, request: Request, verb: Verb, domain: str) -> None:
        """Raise as `require` where who asks may do that with no feed of a domain."""
        if self.gate is not None:
            self.gate.require_some(request.principal, verb, domain)

    def require(self, request: Request, verb: Verb, feed: FeedName) -> None:
        """Raise UnauthorizedError or ForbiddenError where who asks may not do that with a feed."""
        if self.gate is not None:
            self.gate.require(request.principal, verb, feed)
