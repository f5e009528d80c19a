"""Joins: what a pipe wants from a feed."""

from collections.abc import Sequence
from typing import Any

import cbor2

from restms_cluster import matching
from restms_cluster.broker import Broker, required
from restms_cluster.errors import (
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    PreconditionFailedError,
    RestMSError,
    UnavailableError,
)
from restms_cluster.keys import join_key
from restms_cluster.model import ALWAYS, Condition, Header, Join
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import JoinCreate, JoinDelete, JoinRead


async def create(
    broker: Broker,
    pipe: Token,
    feed: FeedName,
    kind: str = "",
    address: str = "",
    headers: Sequence[Header] = (),
) -> tuple[Join, bool]:
    """Join a pipe to a feed. Returns the join, and whether it is new.

    Raises NotFoundError without the pipe or the feed; ForbiddenError on the
    feed `default`, on a feed of another domain (which may live on another
    Redis shard), and where the pipe has all the joins it may;
    BadRequestError for a type that the feed does not know, or an x-match that
    is neither all nor any. ForbiddenError, too, for a pipe that takes its
    messages itself on a feed that does not queue.
    """
    if feed.domain != pipe.domain:
        raise ForbiddenError("A pipe can be joined to feeds of its own domain only.")
    most = broker.limits.joins_per_pipe
    join = Token.new(Kind.JOIN, pipe.domain, pipe.tag)  # whose the pipe is, his is the join
    packed = cbor2.dumps([[header.name, header.value] for header in headers]) if headers else b""
    match = matching.wanted(headers)
    answer = await broker.run(
        JoinCreate(
            pipe.domain,
            pipe.secret,
            join.secret,
            feed.key,
            kind,
            address,
            packed,
            match,
            most,
            broker.idle,
            broker.bounds,
        )
    )
    if answer.outcome in (Outcome.OK, Outcome.EXISTS):
        return join_from(pipe.domain, answer.values[0]), answer.outcome is Outcome.OK
    if answer.outcome is Outcome.MISSING:
        raise NotFoundError("There is no such pipe.")
    raise _refusal(answer.outcome, most)


async def read(broker: Broker, token: Token) -> Join:
    """Return a join; NotFoundError if there is none."""
    answer = await broker.run(JoinRead(token.domain, token.secret, broker.idle))
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome)
    return join_from(token.domain, answer.values[0])


async def delete(broker: Broker, token: Token, condition: Condition = ALWAYS) -> bool:
    """Delete a join; False where there is none, which is as well.

    ForbiddenError for the one that a pipe is born with; UnavailableError while so
    many large fan-outs are under way that what they owe the pipe cannot be told.
    """
    answer = await broker.run(
        JoinDelete(token.domain, token.secret, *required(condition), broker.idle, broker.bounds)
    )
    if answer.outcome not in (Outcome.OK, Outcome.MISSING):
        raise _refusal(answer.outcome)
    return answer.outcome is Outcome.OK


def hints(token: Token) -> str:
    """Return what to watch for the end of a join."""
    return join_key(token)


def join_from(domain: str, values: Sequence[Any]) -> Join:
    """Make a join of what a script tells of it."""
    join, pipe, feed, kind, address, headers, version = values
    pairs = cbor2.loads(headers) if headers else ()
    return Join(
        Token(Kind.JOIN, join.decode(), domain),
        Token(Kind.PIPE, pipe.decode(), domain),
        FeedName(domain, feed.decode()),
        kind.decode(),
        address.decode(),
        tuple(Header(name, value) for name, value in pairs),
        int(version),
    )


def _refusal(outcome: Outcome, most: int = 0) -> RestMSError:
    match outcome:
        case Outcome.NO_FEED:
            return NotFoundError("There is no such feed.")
        case Outcome.RESERVED:
            return ForbiddenError("A pipe has its one join on the feed default from its creation.")
        case Outcome.NOT_QUEUEING:
            return ForbiddenError("Such a pipe can be joined to feeds that queue only.")
        case Outcome.BAD_JOIN:
            return BadRequestError("The join has more words or headers than the feed matches by.")
        case Outcome.BAD_MATCH:
            return BadRequestError("A join's x-match is all or any.")
        case Outcome.UNKNOWN_TYPE:
            return BadRequestError("That feed has no joins of that type.")
        case Outcome.TOO_MANY:
            return ForbiddenError(f"The pipe has all the joins it may have ({most}).")
        case Outcome.BUSY:
            return UnavailableError("Too many large fan-outs are under way.", retry_after=1)
        case Outcome.STALE:
            return PreconditionFailedError("The join has changed since you read it.")
        case _:
            return NotFoundError("There is no such join.")
