"""Looking at pipes: all of a domain, or the one that somebody knows.

What a pipe's URI ends with is the right to use it. So here only its beginning is given on.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from restms_cluster.keys import domain_key
from restms_cluster.names import DEFAULT, Kind, Token
from restms_cluster.visits import Visit, members, number, seconds_of, text

PIPES_A_STEP, MOST_PIPES_A_STEP = 100, 200  # as Redis likes; and as we do
JOINS_SHOWN = 100
SHOWN_DIGITS = 8  # of a secret's 32 or 48, so that 96 bits of it at least stay secret

_SECRET = re.compile(rf"([0-9a-f]{{{SHOWN_DIGITS}}})[0-9a-f]{{24,}}")

# A script, for only so a message's number can be had without the message. It may not write.
_LOOK = """#!lua flags=no-writes
local domain = KEYS[1]
local floor = redis.call('HGET', domain, 'floor')
local found = {}
for i, pipe in ipairs(ARGV) do
  local key = domain .. ':pipe:' .. pipe
  local state = redis.call('HMGET', key, 'type', 'title', 'last', 'since')
  if state[1] then
    local first = redis.call('XRANGE', key .. ':messages', '-', '+', 'COUNT', 1)[1]
    found[#found + 1] = {
      pipe, state[1], string.sub(state[2] or '', 1, 256), state[3], state[4] or '', floor or '',
      redis.call('XLEN', key .. ':messages'), first and first[1] or '',
      redis.call('HLEN', key .. ':joins'), redis.call('ZSCORE', domain .. ':idle', pipe) or '',
    }
  end
end
return { redis.call('TIME'), found }
"""


@dataclass(frozen=True, slots=True)
class PipeSeen:
    """A pipe. `pipe` is the beginning of its name, which nobody can use.

    `last` is the number of its last message. The oldest message that is still there arrived
    `oldest_seconds` ago. In `idle_seconds` it is collected, unless somebody uses it before.
    """

    pipe: str
    domain: str
    type: str
    title: str
    messages: int
    oldest_seconds: float | None
    last: int
    joins: int
    idle_seconds: float | None


@dataclass(frozen=True, slots=True)
class JoinSeen:
    """A join of a pipe. `feed` is a name, or the beginning of a private feed's."""

    feed: str
    type: str
    address: str


async def see_pipes(visit: Visit, domain: str, take: Callable[[PipeSeen], object]) -> None:
    """Give all pipes of a domain to `take`, in no order. Raises StateUnavailableError."""
    async for page in members(visit, f"{domain_key(domain)}:idle", PIPES_A_STEP):
        for first in range(0, len(page), MOST_PIPES_A_STEP):
            for pipe in await _look(visit, domain, *page[first : first + MOST_PIPES_A_STEP]):
                take(pipe)
            await visit.pause()


async def see_pipe(visit: Visit, pipe: Token) -> tuple[PipeSeen, tuple[JoinSeen, ...]] | None:
    """Return a pipe and some of its joins; None where there is no such pipe.

    Raises StateUnavailableError.
    """
    found = await _look(visit, pipe.domain, pipe.secret.encode())
    if not found:
        return None
    key = domain_key(pipe.domain)
    command = ("HSCAN", f"{key}:pipe:{pipe.secret}:joins", 0, "COUNT", JOINS_SHOWN)
    (reply,) = await visit.look(command)
    secrets = reply[1][1::2] if isinstance(reply, list) and isinstance(reply[1], list) else []
    joins = await visit.look(
        *(
            ("HMGET", f"{key}:join:{text(secret)}", "feed", "type", "address")
            for secret in secrets[:JOINS_SHOWN]
        )
    )
    return found[0], tuple(
        JoinSeen(feed_shown(text(join[0])), text(join[1]), safe(text(join[2])))
        for join in joins
        if isinstance(join, list) and join[0] is not None
    )


def feed_shown(key: str) -> str:
    """Return a feed's name; of a private one, the beginning."""
    return shown(Kind.FEED, DEFAULT, key[1:]) if key.startswith("~") else safe(key)


def safe(words: str) -> str:
    """Return a text of a client's without what may be the name of a private resource.

    A pipe's own name is the address of its first join, and a title may tell a URI.
    """
    return _SECRET.sub(r"\1…", words)


def shown(kind: Kind, domain: str, secret: str) -> str:
    """Return the beginning of a private resource's name, as it stands in its URI."""
    return f"{Token(kind, secret[:SHOWN_DIGITS], domain)}…"


async def _look(visit: Visit, domain: str, *pipes: bytes) -> list[PipeSeen]:
    (reply,) = await visit.look(("EVAL_RO", _LOOK, 1, domain_key(domain), *pipes))
    clock, found = reply if isinstance(reply, list) else (None, [])
    now = seconds_of(clock)
    return [_read(domain, now, [text(part) for part in pipe]) for pipe in _lists(found)]


def _read(domain: str, now: float, told: list[str]) -> PipeSeen:
    secret, kind, title, last, since, floor, messages, first, joins, idle = told
    arrived = number(first.partition("-")[2])  # microseconds
    return PipeSeen(
        shown(Kind.PIPE, domain, secret),
        domain,
        kind,
        safe(title),
        int(messages),
        None if arrived is None else round(max(0.0, now - arrived / 1_000_000), 3),
        _last(number(last) or 0, number(since), number(floor) or 0),
        int(joins),
        round(float(idle) / 1000 - now, 3) if idle else None,
    )


def _last(last: int, since: int | None, floor: int) -> int:
    """Return the number before the next one, as the scripts reckon it (lib_pipe.lua)."""
    return last if last >= floor or since == floor else floor - 1


def _lists(value: object) -> list[list[object]]:
    return [one for one in value if isinstance(one, list)] if isinstance(value, list) else []
