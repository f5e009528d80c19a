"""Feeds: created, read, changed and deleted by clients."""

from collections.abc import Sequence
from typing import Any, Literal

from restms_cluster.broker import Broker, required
from restms_cluster.errors import (
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    NotOwnerError,
    PreconditionFailedError,
    RestMSError,
)
from restms_cluster.keys import feed_key
from restms_cluster.model import ALWAYS, Condition, Feed
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import FeedCreate, FeedDelete, FeedRead, FeedUpdate

ANYBODY = "anybody"
"""In place of a tag: whoever asks, it is not looked at whose a feed is."""


async def create(
    broker: Broker,
    domain: str,
    name: str,
    kind: str,
    title: str = "",
    license: str = "",
    *,
    dead_letter: FeedName | None = None,
    dedup: str = "",
    tag: str = "",
) -> tuple[Feed, bool]:
    """Create a feed; without a name, a private one. Returns it, and whether it is new.

    `tag` is its owner's, who alone may change and delete it.

    Raises BadRequestError for an unknown type, NotFoundError without the
    dead-letter feed, ForbiddenError where the name has another type, the domain
    has all the feeds it may, or the dead-letter feed is in another domain.
    """
    private = FeedName.private(Token.new(Kind.FEED, domain, tag))
    feed = FeedName(domain, name) if name else private
    most = broker.most_feeds(domain)
    letters = _letters(feed, dead_letter)
    answer = await broker.run(
        FeedCreate(domain, feed.key, kind, title, license, letters, dedup, most, tag)
    )
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
    dead_letter: FeedName | Literal[""] | None = None,
    dedup: str | None = None,
    kind: str = "",
    condition: Condition = ALWAYS,
    by: str = ANYBODY,
) -> Feed:
    """Change what is given; `kind`, if any, must be the feed's type; `by` is the asker's tag.

    Raises ForbiddenError for a configured feed, another's, or another type, NotFoundError
    without the dead-letter feed, PreconditionFailedError where the condition
    does not hold.
    """
    letters = None if dead_letter is None else _letters(feed, dead_letter or None)
    given = {"title": title, "license": license, "dead_letter": letters, "dedup": dedup}
    changes = tuple(
        text for name, value in given.items() if value is not None for text in (name, value)
    )
    answer = await broker.run(
        FeedUpdate(feed.domain, feed.key, *required(condition), kind, letters or "", by, changes)
    )
    if answer.outcome is not Outcome.OK:
        raise _refusal(answer.outcome)
    return feed_from(feed.domain, answer.values[0])


async def delete(
    broker: Broker, feed: FeedName, condition: Condition = ALWAYS, *, by: str = ANYBODY
) -> bool:
    """Delete a feed and its joins; False where there is none, which is as well.

    Raises ForbiddenError for a configured feed, and where `by` is another's tag than the owner's.
    """
    answer = await broker.run(
        FeedDelete(feed.domain, feed.key, *required(condition), broker.bounds, by)
    )
    if answer.outcome not in (Outcome.OK, Outcome.MISSING):
        raise _refusal(answer.outcome)
    return answer.outcome is Outcome.OK


def hints(feed: FeedName) -> str:
    """Return what to watch for changes of a feed."""
    return feed_key(feed)


def feed_from(domain: str, values: Sequence[Any]) -> Feed:
    """Make a feed of what a script tells of it."""
    key, kind, title, license, version, configured, letters, dedup = (
        value.decode() for value in values
    )
    return Feed(
        FeedName(domain, key),
        kind,
        title,
        license,
        int(version),
        configured == "1",
        FeedName(domain, letters) if letters else None,
        dedup,
    )


def _letters(feed: FeedName, dead_letter: FeedName | None) -> str:
    if dead_letter is None:
        return ""
    if dead_letter.domain != feed.domain:
        raise ForbiddenError("A feed's dead-letter feed is in its own domain.")
    if dead_letter == feed:
        raise BadRequestError("A feed cannot be its own dead-letter feed.")
    return dead_letter.key


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
        case Outcome.NOT_OWNER:
            return NotOwnerError("Only who made this feed may change or delete it.")
        case Outcome.NO_FEED:
            return NotFoundError("There is no feed at dead_letter.")
        case Outcome.STALE:
            return PreconditionFailedError("The feed has changed since you read it.")
        case _:
            return NotFoundError("There is no such feed.")
