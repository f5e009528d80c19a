"""Pipes: created, read, changed and deleted by the subscriber who owns them."""

from restms_cluster import blobs
from restms_cluster.broker import Broker, required
from restms_cluster.errors import (
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    PreconditionFailedError,
    RestMSError,
)
from restms_cluster.joins import join_from
from restms_cluster.keys import messages_key
from restms_cluster.model import ALWAYS, Condition, Listed, Pipe
from restms_cluster.names import Kind, Token
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import PipeCreate, PipeDelete, PipeRead, PipeUpdate


async def create(broker: Broker, domain: str, kind: str, title: str = "", *, tag: str = "") -> Pipe:
    """Create a pipe; `tag` is its owner's.

    Raises BadRequestError for an unknown type, ForbiddenError where the
    domain has all the pipes it may.
    """
    most = broker.most_pipes(domain)
    token = Token.new(Kind.PIPE, domain, tag)
    join = Token.new(Kind.JOIN, domain, tag)
    answer = await broker.run(
        PipeCreate(domain, token.secret, str(token), join.secret, kind, title, most, broker.idle)
    )
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome, most)
    canonical, title_kept, version, *records = answer.values
    return Pipe(
        token,
        canonical.decode(),
        title_kept.decode(),
        int(version),
        tuple(join_from(domain, record) for record in records),
        (),
        token.message(1),
    )


async def read(broker: Broker, token: Token) -> Pipe:
    """Return a pipe with its joins and its oldest messages, as many as may be listed."""
    most = broker.limits.messages_listed
    answer = await broker.run(PipeRead(token.domain, token.secret, most, broker.idle))
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome)
    kind, title, version, last, joins, messages, cut = answer.values
    listed = tuple(_listed(token, *message) for message in messages)
    return Pipe(
        token,
        kind.decode(),
        title.decode(),
        int(version),
        tuple(join_from(token.domain, join) for join in joins),
        listed,
        token.message(int(last) + 1) if not cut else None,
    )


def _listed(pipe: Token, entry: bytes, address: bytes | None, more: bytes) -> Listed:
    token = pipe.message(int(entry.partition(b"-")[0]))
    if address is not None:
        return Listed(token, address.decode(), more.decode())
    # A short message says both itself: `more` is its blob.
    properties = blobs.unpack(more)[0]
    return Listed(token, properties.get("address", ""), properties.get("message_id", ""))


async def update(
    broker: Broker,
    token: Token,
    *,
    title: str | None = None,
    kind: str = "",
    condition: Condition = ALWAYS,
) -> None:
    """Change the title if one is given; `kind`, if any, must be the pipe's type."""
    changes = () if title is None else ("title", title)
    answer = await broker.run(
        PipeUpdate(token.domain, token.secret, *required(condition), kind, broker.idle, changes)
    )
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome)


async def delete(broker: Broker, token: Token, condition: Condition = ALWAYS) -> bool:
    """Delete a pipe, its joins and its messages; waits on them end with 404.

    False where there is no such pipe, which is as well.
    """
    answer = await broker.run(
        PipeDelete(token.domain, token.secret, *required(condition), broker.bounds)
    )
    if answer.outcome not in (Outcome.OK, Outcome.MISSING):
        raise _refusal(answer.outcome)
    return answer.outcome is Outcome.OK


def hints(token: Token) -> str:
    """Return what to watch for changes of a pipe, and for its messages."""
    return messages_key(token)


def _refusal(outcome: Outcome, most: int = 0) -> RestMSError:
    match outcome:
        case Outcome.UNKNOWN_TYPE:
            return BadRequestError("No profile of this server has that pipe type.")
        case Outcome.TYPE_DIFFERS:
            return ForbiddenError("A pipe's type cannot be changed.")
        case Outcome.TOO_MANY:
            return ForbiddenError(f"The domain has all the pipes it may have ({most}).")
        case Outcome.STALE:
            return PreconditionFailedError("The pipe has changed since you read it.")
        case _:
            return NotFoundError("There is no such pipe.")
