"""Feeds: created, read, changed and deleted by clients."""

from collections.abc import Sequence
from typing import Any

from restms_cluster.broker import Broker, required
from restms_cluster.errors import (
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    PreconditionFailedError,
    RestMSError,
)
from restms_cluster.keys import feed_key
from restms_cluster.model import ALWAYS, Condition, Feed
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import FeedCreate, FeedDelete, FeedRead, FeedUpdate


async def create(
    broker: Broker, domain: str, name: str, kind: str, title: str = "", license: str = ""
) -> tuple[Feed, bool]:
    """Create a feed; without a name, a private one. Returns it, and whether it is new.

    Raises BadRequestError for an unknown type, ForbiddenError where the name
    has another type or the domain has all the feeds it may.
    """
    feed = FeedName(domain, name) if name else FeedName.private(Token.new(Kind.FEED, domain))
    most = broker.limits.feeds_per_domain
    answer = await broker.run(FeedCreate(domain, feed.key, kind, title, license, most))
    if answer.outcome in (Outcome.OK, Outcome.EXISTS):
        return feed_from(domain, answer.values[0]), answer.outcome is Outcome.OK
    raise _refusal(answer.outcome, most)


async def read(broker: Broker, feed: FeedName) -> Feed:
    """Return a feed; NotFoundError if there is none."""
    answer = await broker.run(FeedRead(feed.domain, feed.key))
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome)
    return feed_from(feed.domain, answer.values[0])


async def update(
    broker: Broker,
    feed: FeedName,
    *,
    title: str | None = None,
    license: str | None = None,
    kind: str = "",
    condition: Condition = ALWAYS,
) -> Feed:
    """Change what is given; `kind`, if any, must be the feed's type.

    Raises ForbiddenError for a configured feed or another type,
    PreconditionFailedError where the condition does not hold.
    """
    changes: list[str] = []
    if title is not None:
        changes += ("title", title)
    if license is not None:
        changes += ("license", license)
    answer = await broker.run(
        FeedUpdate(feed.domain, feed.key, *required(condition), kind, tuple(changes))
    )
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome)
    return feed_from(feed.domain, answer.values[0])


async def delete(broker: Broker, feed: FeedName, condition: Condition = ALWAYS) -> None:
    """Delete a feed and its joins; a feed that is not there is deleted already."""
    answer = await broker.run(FeedDelete(feed.domain, feed.key, *required(condition)))
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome)


def hints(feed: FeedName) -> str:
    """Return what to watch for changes of a feed."""
    return feed_key(feed)


def feed_from(domain: str, values: Sequence[Any]) -> Feed:
    """Make a feed of what a script tells of it."""
    key, kind, title, license, version, configured = (value.decode() for value in values)
    return Feed(FeedName(domain, key), kind, title, license, int(version), configured == "1")


def _refusal(outcome: Outcome, most: int = 0) -> RestMSError:
    match outcome:
        case Outcome.UNKNOWN_TYPE:
            return BadRequestError("No profile of this server has that feed type.")
        case Outcome.TYPE_DIFFERS:
            return ForbiddenError("The feed has another type, and a type cannot be changed.")
        case Outcome.TOO_MANY:
            return ForbiddenError(f"The domain has all the feeds it may have ({most}).")
        case Outcome.CONFIGURED:
            return ForbiddenError("This feed is made by the server's configuration.")
        case Outcome.STALE:
            return PreconditionFailedError("The feed has changed since you read it.")
        case _:
            return NotFoundError("There is no such feed.")
