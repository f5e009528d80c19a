"""What the operations on nouns share: the scripts, the limits, the configured domains."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from time import perf_counter
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from restms_cluster.counts import Counts
from restms_cluster.errors import (
    BrokenStateError,
    FullError,
    RestMSError,
    StateUnavailableError,
    TooLargeError,
)
from restms_cluster.keeper import Kept
from restms_cluster.levels import Durability, TooFewReplicasError
from restms_cluster.link import UndoneError
from restms_cluster.model import Condition, ConfiguredDomain, Limits
from restms_cluster.pipeline import HEAVIEST
from restms_cluster.profiles import Profile
from restms_cluster.scripts import Grouped, Library, Outcome, Transition
from restms_cluster.shard import Shard
from restms_cluster.shards import Shards
from restms_cluster.shortages import Shortages
from restms_cluster.transitions import TRANSITIONS

MILLISECONDS = 1000

_OUTCOMES = {outcome.encode(): outcome for outcome in Outcome}

_log = logging.getLogger("restms.broker")


@dataclass(frozen=True, slots=True)
class Answer:
    """A script's answer: its word, and whatever follows."""

    outcome: Outcome
    values: Sequence[Any]


@dataclass(frozen=True)
class Broker:
    """The shared broker as one node sees it. It remembers nothing about any resource."""

    shards: Shards
    library: Library
    profiles: tuple[Profile, ...]
    domains: Mapping[str, ConfiguredDomain]
    limits: Limits
    node: str
    durability: Durability = field(default_factory=Durability)
    shortages: Shortages = field(default_factory=Shortages)
    counts: Counts = field(default_factory=Counts)
    _count: Iterator[int] = field(default_factory=count, repr=False)

    async def run(self, transition: Transition) -> Answer:
        """Run one script in one round trip; a grouped one together with others' calls.

        Raises StateUnavailableError when Redis cannot be asked; reads are
        then repeated once, for they change nothing.
        """
        if not isinstance(transition, Grouped):
            return (await self.run_all(transition))[0]
        begun = perf_counter()
        shard = self.shards.home(transition.domain)
        loads = shard.loads.count
        try:
            reply = await self._join(shard, transition)
        except UndoneError as error:
            shard = await self._follow(transition.domain, shard, error)
            loads = shard.loads.count
            reply = await self._join(shard, transition)
        if isinstance(reply, NoScriptError):
            await self._load_again(shard, loads)
            reply = await self._join(shard, transition)
        answer = _answer(reply)
        if answer.outcome is Outcome.APART:
            # Those before it made the call long enough: it is to be made alone.
            return (await self.run_all(transition))[0]
        self.counts.scripts[type(transition)].add(perf_counter() - begun)
        return answer

    async def run_kept(self, transition: Grouped) -> Answer:
        """Run a script as `run` does; return once enough replicas have what it wrote.

        Raises TooFewReplicasError where they are too few in time: the script has run then.
        """
        begun = perf_counter()
        shard = self.shards.home(transition.domain)
        loads = shard.loads.count
        try:
            kept = await self._keep(shard, transition, transition.weight)
        except UndoneError as error:
            shard = await self._follow(transition.domain, shard, error)
            loads = shard.loads.count
            kept = await self._keep(shard, transition, transition.weight)
        if isinstance(kept.reply, NoScriptError):
            await self._load_again(shard, loads)
            kept = await self._keep(shard, transition, transition.weight)
        answer = _answer(kept.reply)
        if answer.outcome is Outcome.APART:
            kept = await self._keep(shard, transition, HEAVIEST)
            answer = _answer(kept.reply)
        self.counts.scripts[type(transition)].add(perf_counter() - begun)
        if answer.outcome is Outcome.OK and not kept.enough:
            raise TooFewReplicasError
        return answer

    async def run_all(self, *transitions: Transition) -> list[Answer]:
        """Run several scripts of one domain, in order, in one round trip."""
        begun = perf_counter()
        domain = transitions[0].domain
        shard = self.shards.home(domain)
        try:
            replies = await self._call_all(shard, transitions)
        except UndoneError as error:
            shard = await self._follow(domain, shard, error)
            replies = await self._call_all(shard, transitions)
        for one in transitions:
            self.counts.scripts[type(one)].add(perf_counter() - begun)
        return [
            _answer(reply[0] if isinstance(reply, list) and isinstance(one, Grouped) else reply)
            for one, reply in zip(transitions, replies, strict=True)
        ]

    async def _call_all(self, shard: Shard, transitions: Sequence[Transition]) -> list[Any]:
        reads = all(transition.reads for transition in transitions)
        calls = [self._call(transition) for transition in transitions]
        loads = shard.loads.count
        replies: list[Any] = [*await shard.connection.call_many(calls, retry=reads)]
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # A fresh primary knows no scripts. Nothing that depended on the
            # first one that was missing can have taken effect: run it all again from there.
            await self._load_again(shard, loads)
            first = next(i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError))
            try:
                replies[first:] = await shard.connection.call_many(calls[first:], retry=reads)
            except UndoneError as error:
                if first:
                    raise StateUnavailableError(error.text) from error
                raise
        return replies

    async def _follow(self, domain: str, left: Shard, error: UndoneError) -> Shard:
        """Return the shard that a domain has gone to, for a call of which nothing was done."""
        if await self.shards.follow(domain, left):
            return self.shards.home(domain)
        raise error

    async def load(self, shard: Shard) -> None:
        """Give a shard all scripts."""
        texts = [self.library.text(stub.script()) for stub in TRANSITIONS]
        commands = [("SCRIPT", "LOAD", text) for text in texts]
        for reply in await shard.connection.call_many(commands):
            if isinstance(reply, RedisError):
                raise _broken(reply)
        shard.loads.count += 1

    async def _load_again(self, shard: Shard, loads: int) -> None:
        """Load, unless another did since there had been so many loads: thousands may want it."""
        async with shard.loads.lock:
            if shard.loads.count == loads:
                await self.load(shard)

    @cached_property
    def idle(self) -> int:
        """How long a pipe may stay unused, in milliseconds."""
        return int(self.limits.idle_seconds * MILLISECONDS)

    @cached_property
    def bounds(self) -> str:
        """What the scripts that move messages must know of the limits."""
        limits = self.limits
        return f"{limits.messages_per_pipe} {limits.messages_per_feed} {limits.redeliveries}"

    def most_feeds(self, domain: str) -> int:
        """Return how many feeds a domain may have."""
        configured = self.domains.get(domain)
        own = configured.feeds_per_domain if configured else None
        return self.limits.feeds_per_domain if own is None else own

    def most_pipes(self, domain: str) -> int:
        """Return how many pipes a domain may have."""
        configured = self.domains.get(domain)
        own = configured.pipes_per_domain if configured else None
        return self.limits.pipes_per_domain if own is None else own

    def most_bytes(self, domain: str) -> int:
        """Return how many bytes a domain may take in Redis; 0 for any number."""
        configured = self.domains.get(domain)
        own = configured.bytes_per_domain if configured else None
        return self.limits.bytes_per_domain if own is None else own

    def no_room(self, domain: str, size: int, outcome: str) -> RestMSError:
        """Return what to tell who found no room in a domain for so many bytes.

        It is measured soon, unless they would not fit in it were it empty.
        """
        most = self.most_bytes(domain)
        if size > most:
            return TooLargeError(
                f"The request has {size} bytes, and the domain may hold {most}; {outcome}."
            )
        self.shortages.tell(domain)
        return FullError(
            f"The domain holds the {most} bytes that it may; {outcome}.",
            retry_after=2,
        )

    async def _join(self, shard: Shard, transition: Grouped) -> Any:
        head = ("EVALSHA", self.library.digest(transition.script()), *transition.head())
        return await shard.connection.call_grouped(
            head, transition.call(), transition.weight, retry=transition.reads
        )

    async def _keep(self, shard: Shard, transition: Grouped, weight: int) -> Kept:
        head = ("EVALSHA", self.library.digest(transition.script()), *transition.head())
        return await shard.keeper.call(transition.domain, head, transition.call(), weight)

    def nonce(self) -> str:
        """Return what no call of any node was given before; it grows."""
        return f"{self.node}{next(self._count):012x}"

    def _call(self, transition: Transition) -> tuple[str | bytes | int, ...]:
        digest = self.library.digest(transition.script())
        return ("EVALSHA", digest, *transition.arguments())


def required(condition: Condition) -> tuple[str, str]:
    """Return the arguments `versions` and `unmodified` that ask for a condition."""
    versions, unmodified = "", ""
    if condition.versions is not None:
        versions = " ".join(str(version) for version in sorted(condition.versions)) or "none"
    if condition.unmodified_since is not None:
        unmodified = str(condition.unmodified_since)
    return versions, unmodified


def _broken(reply: RedisError) -> BrokenStateError:
    _log.error("Redis refuses an operation: %s", reply)
    error = BrokenStateError()
    error.__cause__ = reply
    return error


def _answer(reply: Any) -> Answer:
    if isinstance(reply, RedisError):
        raise _broken(reply)
    outcome = _OUTCOMES[reply[0]]
    if outcome is Outcome.BROKEN:
        raise _broken(ResponseError(reply[1].decode(errors="replace")))
    return Answer(outcome, reply[1:])
