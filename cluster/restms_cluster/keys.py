"""Every key the broker keeps in Redis: its form, its type, its lifetime.

All keys of a domain carry the domain's name in braces, so that a Redis
Cluster keeps them in one slot and one script may change them together. The
scripts build their keys from the domain's key; Python names only those that
it waits on. `docs/redis.md` explains the same table in words.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from restms_cluster.names import FeedName, Token

PREFIX = "restms:"


@dataclass(frozen=True, slots=True)
class Key:
    """One family of keys. `form` stands behind the domain's key; `<...>` varies."""

    form: str
    type: str
    lifetime: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the keys of this family, whole."""
        parts = (p if p.startswith("<") else re.escape(p) for p in re.split(r"(<\w+>)", self.form))
        body = "".join(".*" if part.startswith("<") else part for part in parts)
        return re.compile(re.escape(PREFIX) + r"\{[^{}]+\}" + body, re.DOTALL)


KEYS = (
    Key("", "hash", "the domain's"),
    Key(":feeds", "zset", "the domain's"),
    Key(":private", "set", "while there are private feeds"),
    Key(":feed:<name>", "hash", "the feed's"),
    Key(":index:<id>:joins", "set", "the feed's, or until the sweep after its deletion"),
    Key(":index:<id>:at:<place>", "zset", "while a join stands there"),
    Key(":index:<id>:extra", "hash", "while a pipe comes to one place by several joins"),
    Key(":index:<id>:tree", "hash", "while there are joins"),
    Key(":index:<id>:turns", "zset", "while somebody can be given a message"),
    Key(":index:<id>:called", "zset", "expires"),
    Key(":index:<id>:queue", "zset", "while messages wait; gone with the feed, or by the sweep"),
    Key(":index:<id>:delayed", "zset", "while messages wait; gone with the feed, or by the sweep"),
    Key(":pipe:<secret>", "hash", "the pipe's"),
    Key(":pipe:<secret>:joins", "hash", "the pipe's"),
    Key(":pipe:<secret>:messages", "stream", "the pipe's, or until the sweep after its deletion"),
    Key(":pipe:<secret>:dropped", "zset", "until its messages are acknowledged"),
    Key(":join:<secret>", "hash", "the join's"),
    Key(":body:<id>", "hash", "until the last pipe is done with it"),
    Key(":content:<secret>", "hash", "expires, or is loose, unless published; then its body's"),
    Key(":content:<secret>:<place>", "string", "its content's, or until the sweep has freed it"),
    Key(":loose", "zset", "while a content of several chunks is in no message"),
    Key(":once:<id>:<digest>", "hash", "expires"),
    Key(":known:<id>:<message_id>", "string", "expires"),
    Key(":works", "list", "while there are works"),
    Key(":work:<number>", "hash", "until it is done"),
    Key(":work:<number>:took", "set", "until the work is done"),
    Key(":delayed", "zset", "while there are delayed messages"),
    Key(":expiring", "zset", "while there are messages that will expire"),
    Key(":queued", "set", "while a feed has messages and somebody to take them"),
    Key(":returning", "hash", "until what deleted pipes held is back in its feeds"),
    Key(":ended", "hash", "while something comes back to feeds"),
    Key(":driver", "string", "expires"),
    Key(":idle", "zset", "while there are pipes"),
    Key(":trash", "set", "until the sweep has freed what it names"),
    Key(":lease", "string", "expires"),
    Key(":measuring", "string", "expires"),
    Key(":written", "string", "expires"),
    Key(":rate:<bucket>", "string", "expires"),
    Key(":hints", "string", "expires"),
    Key(":probe:<node>:messages", "stream", "expires"),
)


@lru_cache(maxsize=1024)
def domain_key(domain: str) -> str:
    """Return the key of a domain, which all its other keys start with."""
    return f"{PREFIX}{{{domain}}}"


def domain_of(key: str) -> str:
    """Return the domain of one of its keys."""
    return key[len(PREFIX) + 1 : key.index("}")]


def feed_key(feed: FeedName) -> str:
    """Return the key of a feed, and so the name of its hints."""
    return f"{domain_key(feed.domain)}:feed:{feed.key}"


def join_key(join: Token) -> str:
    """Return the key of a join, and so the name of its hints."""
    return f"{domain_key(join.domain)}:join:{join.secret}"


def written_key(domain: str) -> str:
    """Return the key of what is written only to wait for replicas to have it."""
    return f"{domain_key(domain)}:written"


def due_key(domain: str) -> str:
    """Return the name of the hints that something is due in a domain."""
    return f"{domain_key(domain)}:due"


def messages_key(pipe: Token) -> str:
    """Return the key of a pipe's stream, whose events are the pipe's hints."""
    return f"{domain_key(pipe.domain)}:pipe:{pipe.secret}:messages"


def probe_key(domain: str, node: str) -> str:
    """Return the key that a node tests its notifications with."""
    return f"{domain_key(domain)}:probe:{node}:messages"
