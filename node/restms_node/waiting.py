"""Waiting: a GET that is answered when what it asks for has come to be.

A notification is only a hint. Whatever wakes a wait, it reads again; and it
reads by itself every few seconds, so a lost hint costs time, never a message.
"""

import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Self, TypeVar

import trio

from restms_cluster.errors import (
    DrainingError,
    NotFoundError,
    StateUnavailableError,
    UnauthorizedError,
    UnavailableError,
)
from restms_cluster.keys import domain_of
from restms_cluster.shards import Shards
from restms_cluster.subscriber import SWEEP
from restms_node.exchange import Watched

T = TypeVar("T")

RETRY_SECONDS = 1.0  # after a read that Redis did not answer

ANSWERED, TIMEOUT, DRAINED, GONE = "answered", "timeout", "drained", "gone"
REFUSED, LAPSED, FAILED = "refused", "lapsed", "failed"
OUTCOMES = (ANSWERED, TIMEOUT, DRAINED, GONE, REFUSED, LAPSED, FAILED)
"""How a wait, or a stream, ends. Gone is the client, or what it waited for."""


def outcome_of(error: BaseException) -> str:
    """Return how a wait ends that such an error ends."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case DrainingError():
            return DRAINED
        case UnauthorizedError():
            return LAPSED
        case NotFoundError() | trio.Cancelled() | GeneratorExit():
            return GONE
    return FAILED


class Waits:
    """The waits parked on this node: bounded in number, ended together when it drains."""

    def __init__(
        self,
        shards: Shards,
        *,
        most: int,
        reread_seconds: float,
        most_each: int | None = None,
        most_in: Mapping[str, int | None] = MappingProxyType({}),
    ) -> None:
        """`most` may wait, `most_each` of one client, and `most_in` a domain, by its name."""
        self._shards = shards
        self.most = most
        self._most_each = most if most_each is None else most_each
        self._most_in = most_in
        self._parked_of: Counter[str] = Counter()
        self._parked_in: Counter[str] = Counter()
        self._reread_seconds = reread_seconds
        self._ended = trio.Event()
        self._draining = trio.Event()
        self.parked = 0
        self.draining = False
        self.ends: Counter[str] = Counter()
        self.wakeups: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.drains_since = math.inf

    async def until(
        self,
        hints: str,
        read: Callable[[], Awaitable[T | None]],
        seconds: float,
        reread: Callable[[], Awaitable[T | None]] | None = None,
        watched: Watched = nullcontext,
        *,
        who: str = "",
        late: str = TIMEOUT,
    ) -> T | None:
        """Return what `read` finds, as soon as it finds something; None after `seconds`.

        `reread` is how to read while waiting, where that is not the same;
        `watched` is the request's, whose client may go; `who` asks; `late` is how the wait ends
        when its time is over.
        What is there at once costs one read. Errors of `read` end the wait,
        but for a Redis out of reach: a wait outlasts its restart. Raises
        DrainingError when the node drains, UnavailableError when it has all the
        waits it may.
        """
        found = await read()
        if found is not None or seconds <= 0:
            return found
        with self.place(who, domain_of(hints)) as place:
            begun = trio.current_time()
            found = await self.next(hints, reread or read, seconds, watched)
            if found is None:
                place.outcome = late if trio.current_time() - begun >= seconds else GONE
            return found

    async def next(
        self,
        hints: str,
        read: Callable[[], Awaitable[T | None]],
        seconds: float,
        watched: Watched = nullcontext,
    ) -> T | None:
        """Wait as `until` does, inside of `place`: a stream waits again and again in one place."""
        self._check_draining()
        with trio.move_on_after(seconds) as scope, watched(scope):
            async with self._shards.watch(hints) as watch:
                while True:
                    pause = self._reread_seconds
                    try:
                        found = await read()
                    except StateUnavailableError:
                        pause = min(pause, RETRY_SECONDS)
                        found = None
                    if found is not None:
                        return found
                    # Spread out, so that many waits do not read in one moment.
                    woken = await watch.wakeup(pause * random.uniform(0.75, 1.25))
                    self._check_draining()
                    self.wakeups[watch.source if woken else SWEEP] += 1
        return None

    def check(self, who: str, domain: str) -> None:
        """Raise DrainingError when the node drains, UnavailableError when no place is free.

        `who` asks for it has only so many, and so has the domain; nobody named is not counted.
        """
        self._check_draining()
        if self.parked >= self.most:
            raise UnavailableError("This node has all the waiting readers it can take.")
        if who and self._parked_of[who] >= self._most_each:
            raise UnavailableError("You have as many waiting readers here as one may.")
        most = self._most_in.get(domain)
        if most is not None and self._parked_in[domain] >= most:
            raise UnavailableError("The domain has all the waiting readers here that it may.")

    def place(self, who: str, domain: str, stream: str = "") -> "Place":
        """Count as one of the waits for the time of a block, which raises what `check` does.

        `stream` is the kind of stream that it is for, if it is for one.
        """
        return Place(self, who, domain, stream)

    def take(self, place: "Place") -> None:
        """Count one who begins to wait; raises what `check` does."""
        try:
            self.check(place.who, place.domain)
        except DrainingError:
            self.ends[DRAINED] += 1
            raise
        except UnavailableError:
            self.ends[REFUSED] += 1
            raise
        self.parked += 1
        self._parked_of[place.who] += 1
        self._parked_in[place.domain] += 1
        if place.stream:
            self.streams[place.stream] += 1

    def leave(self, place: "Place") -> None:
        """Count one who waits no more."""
        self.ends[place.outcome] += 1
        if place.stream:
            self.streams[place.stream] -= 1
        self.parked -= 1
        self._parked_in[place.domain] -= 1
        self._parked_of[place.who] -= 1
        if not self._parked_of[place.who]:
            del self._parked_of[place.who]
        if not self.parked:
            self._ended.set()

    def drain(self) -> None:
        """End all waits, now and from now on, with 503 and Retry-After: 0."""
        if self.draining:
            return
        self.draining = True
        self.drains_since = trio.current_time()
        self._draining.set()
        self._shards.wake_all()

    async def until_draining(self) -> None:
        """Wait until the node drains."""
        await self._draining.wait()

    async def ended(self) -> None:
        """Wait until no wait is parked any more."""
        while self.parked:
            if self._ended.is_set():
                self._ended = trio.Event()
            await self._ended.wait()

    def _check_draining(self) -> None:
        if self.draining:
            raise DrainingError("This node is going down; ask again, another will answer.")


class Place:
    """A place among the waits; `outcome` is how its wait ends, unless an error says so.

    A class, and no generator: of these there are as many as there are waits.
    """

    __slots__ = ("_waits", "domain", "outcome", "stream", "who")

    def __init__(self, waits: Waits, who: str, domain: str, stream: str) -> None:
        self.who = who
        self.domain = domain
        self.stream = stream
        self.outcome = ANSWERED
        self._waits = waits

    def __enter__(self) -> Self:
        self._waits.take(self)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self.outcome = outcome_of(error)
        self._waits.leave(self)
