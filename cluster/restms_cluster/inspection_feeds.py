"""Looking at the feeds of a domain."""

from collections.abc import Callable
from dataclasses import dataclass

from restms_cluster.inspection_pipes import feed_shown, safe
from restms_cluster.keys import domain_key
from restms_cluster.visits import Visit, hashes, members, text

FEEDS_A_STEP = 100
LOOKED_AT = 1000

_LOOK = """#!lua flags=no-writes
local domain = KEYS[1]
local found = {}
for i, feed in ipairs(ARGV) do
  local state = redis.call('HMGET', domain .. ':feed:' .. feed,
    'id', 'type', 'title', 'configured', 'dead_letter')
  if state[1] then
    local index = domain .. ':index:' .. state[1]
    found[#found + 1] = {
      feed, state[2] or '', string.sub(state[3] or '', 1, 256), state[4] or '', state[5] or '',
      redis.call('SCARD', index .. ':joins'), redis.call('ZCARD', index .. ':queue'),
      redis.call('ZCARD', index .. ':delayed'),
    }
  end
end
return found
"""


@dataclass(frozen=True, slots=True)
class FeedSeen:
    """A feed. `name` is the beginning of a private feed's, which nobody can use.

    `queued` messages wait to be taken, `delayed` ones for their time. `dead_letter` is the
    feed that gets what cannot be delivered, empty where there is none.
    """

    name: str
    domain: str
    type: str
    title: str
    joins: int
    queued: int
    delayed: int
    dead_letter: str
    configured: bool


async def see_feeds(visit: Visit, domain: str, take: Callable[[FeedSeen], object]) -> None:
    """Give all public feeds of a domain to `take`. Raises StateUnavailableError."""
    async for page in members(visit, f"{domain_key(domain)}:feeds", FEEDS_A_STEP):
        await _take(visit, domain, page, take)


async def see_private_feeds(
    visit: Visit,
    domain: str,
    take: Callable[[FeedSeen], object],
    progress: Callable[[int], None],
) -> None:
    """Give all private feeds to `take`, which only a walk through all keys can find.

    `progress` is told how many keys were looked at. Raises StateUnavailableError.
    """
    prefix, looked = f"{domain_key(domain)}:feed:", 0
    async for page in hashes(visit, f"{prefix}~*", LOOKED_AT):
        names = [name.removeprefix(prefix.encode()) for name in page]
        await _take(visit, domain, names, take)
        looked += LOOKED_AT
        progress(looked)


async def _take(
    visit: Visit, domain: str, names: list[bytes], take: Callable[[FeedSeen], object]
) -> None:
    for first in range(0, len(names), FEEDS_A_STEP):
        for feed in await _look(visit, domain, names[first : first + FEEDS_A_STEP]):
            take(feed)
        await visit.pause()


async def _look(visit: Visit, domain: str, names: list[bytes]) -> list[FeedSeen]:
    (reply,) = await visit.look(("EVAL_RO", _LOOK, 1, domain_key(domain), *names))
    told = reply if isinstance(reply, list) else []
    return [_read(domain, [text(part) for part in feed]) for feed in told if isinstance(feed, list)]


def _read(domain: str, told: list[str]) -> FeedSeen:
    name, kind, title, configured, dead_letter, joins, queued, delayed = told
    return FeedSeen(
        feed_shown(name),
        domain,
        kind,
        safe(title),
        int(joins),
        int(queued),
        int(delayed),
        feed_shown(dead_letter) if dead_letter else "",
        configured not in ("", "0"),
    )
