"""How much somebody may do in a time: requests, messages, wrong guesses of credentials.

Who has a name is counted by it, others by their address. What is left is told in
the fields of draft-ietf-httpapi-ratelimit-headers.
"""

import math
from functools import lru_cache

import trio

from restms_cluster import rates
from restms_cluster.broker import Broker
from restms_cluster.errors import RestMSError, TooLargeError, TooManyRequestsError
from restms_cluster.names import DEFAULT, FeedName, Token
from restms_cluster.rates import Rate, Taken
from restms_node.clients import client_of
from restms_node.config import Settings
from restms_node.exchange import Headers, Request
from restms_node.principals import Principal
from restms_node.uris import DomainName
from restms_node.waiting import Waits

REQUESTS, MESSAGES, LOGINS = "requests", "messages", "logins"
LONGEST_PAUSE_SECONDS = 30.0  # of a stream, whose client might take a longer one for a fault
PRINCIPALS_KEPT = 1024


class Limiter:
    """The rates of a node. `on` tells whether there are any but that of wrong credentials.

    `asks` tells whether it matters which client a request comes from.
    """

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._proxies = settings.trusted_proxies
        self._logins = settings.login_rate
        self._usual = {REQUESTS: settings.request_rate, MESSAGES: settings.message_rate}
        self._allowances = settings.rates
        self._rates = lru_cache(maxsize=PRINCIPALS_KEPT)(self._find)
        special = (rate for one in self._allowances for _, rate in one.rates)
        self.on = any(rate is not None for rate in (*self._usual.values(), *special))
        self.asks = self.on or settings.max_waits_each < settings.max_waits

    async def take_request(self, request: Request) -> Headers:
        """Count a request; return what its answer is to tell of that.

        Raises TooManyRequestsError, which is to be raised before the body is read.
        """
        if self._rates(request.principal)[REQUESTS] is None:
            return ()
        return await self._take(request, self._domain(request), REQUESTS, 1)

    async def take_messages(self, request: Request, feed: FeedName, count: int) -> Headers:
        """Count messages that are to be published, all of them or none; as `take_request`.

        Raises TooLargeError for more than can ever be had at once.
        """
        rate = self._rates(request.principal)[MESSAGES]
        if rate is not None and count > rate.quota:
            raise TooLargeError(
                f"Nobody with this rate may publish more than {rate.quota} messages at once; "
                "nothing was routed. Post fewer messages."
            )
        return await self._take(request, feed.domain, MESSAGES, count)

    def most_messages(self, request: Request, most: int) -> int:
        """Return how many messages can be had at once, up to `most`."""
        rate = self._rates(request.principal)[MESSAGES]
        return most if rate is None else min(most, rate.quota)

    async def wait_for_messages(
        self, request: Request, feed: FeedName, count: int, waits: Waits
    ) -> None:
        """Count messages of a stream, as soon as they may come: a pause slows its writer.

        Raises TooManyRequestsError where that is not soon. A drain ends the
        pause: what has been read already is then routed before its time.
        """
        end = trio.current_time() + LONGEST_PAUSE_SECONDS
        while True:
            try:
                await self.take_messages(request, feed, count)
            except _ExceededError as error:
                if waits.draining:
                    return
                if trio.current_time() + error.after > end:
                    raise
                with trio.move_on_after(error.after):
                    await waits.until_draining()
            else:
                return

    async def begin_login(self, request: Request) -> None:
        """Count credentials as wrong ones until they turn out to be right."""
        if self._logins is not None:
            address = client_of(self._proxies, request.peer, request.headers)
            await self._draw(DEFAULT, LOGINS, self._logins, f"@{address}", 1)

    async def end_login(self, request: Request) -> None:
        """Take that back: they are right, or cannot be told to be wrong."""
        if self._logins is not None:
            address = client_of(self._proxies, request.peer, request.headers)
            await rates.take(self._broker, DEFAULT, self._logins, LOGINS, f"@{address}", -1)

    async def _take(self, request: Request, domain: str, kind: str, cost: int) -> Headers:
        rate = self._rates(request.principal)[kind]
        if rate is None:
            return ()
        return await self._draw(domain, kind, rate, self.who(request), cost)

    async def _draw(self, domain: str, kind: str, rate: Rate, who: str, cost: int) -> Headers:
        taken = await rates.take(self._broker, domain, rate, kind, who, cost)
        if taken.after > 0:
            raise _ExceededError(kind, rate, taken)
        return _fields(kind, rate, taken)

    def who(self, request: Request) -> str:
        """Return by what somebody is counted: no name begins as an address does."""
        if request.principal.name:
            return f"={request.principal.name}"
        return f"@{client_of(self._proxies, request.peer, request.headers)}"

    def _domain(self, request: Request) -> str:
        """Return the domain whose rate a request counts to: `default` where it names none."""
        name = DEFAULT
        try:
            match request.uris.target(request.path):
                case DomainName(name=found) | FeedName(domain=found) | Token(domain=found):
                    name = found
        except RestMSError:  # nothing is there, which costs as much to find out
            pass
        return name if name in self._broker.domains else DEFAULT

    def _find(self, principal: Principal) -> dict[str, Rate | None]:
        for allowance in self._allowances:
            if allowance.is_for(principal):
                return {**self._usual, **dict(allowance.rates)}
        return self._usual


class _ExceededError(TooManyRequestsError):
    """More than a rate allows; `after` so many seconds it would be allowed."""

    def __init__(self, kind: str, rate: Rate, taken: Taken) -> None:
        what = {LOGINS: "wrong credentials from this address"}.get(kind, kind)
        time = "a second" if rate.window == 1 else f"{rate.window} seconds"
        done = "routed" if kind == MESSAGES else "done"
        text = f"More than {rate.quota} {what} in {time}; nothing was {done}."
        super().__init__(
            text, retry_after=math.ceil(taken.after), fields=_fields(kind, rate, taken)
        )
        self.after = taken.after


def _fields(kind: str, rate: Rate, taken: Taken) -> Headers:
    if kind == LOGINS:  # of which the client is told no more than when to come back
        return ()
    return (
        ("RateLimit-Policy", f'"{kind}";q={rate.quota};w={rate.window}'),
        ("RateLimit", f'"{kind}";r={taken.left};t={taken.full}'),
    )
