"""The broker's nouns, as they travel between the layers. All frozen.

`version` is the same thing everywhere: the time of the last change, in
microseconds since the epoch by Redis's clock, made to grow with every change.
ETags and Last-Modified both come from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from restms_cluster.levels import Level
from restms_cluster.names import FeedName, Token
from restms_cluster.terms import PLAIN, Terms

PROPERTIES = (
    "address",
    "message_id",
    "reply_to",
    "delivery_mode",
    "priority",
    "correlation_id",
    "expiration",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "sender_id",
)
"""The attributes of a message that are kept and carried through (2/RestMS, 4/AMQP9)."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Where publishers post messages.

    `dead_letter` is the feed that gets what could not be delivered; `dedup`
    the seconds, as a text, for which a message_id is routed once, or empty.
    """

    name: FeedName
    type: str
    title: str
    license: str
    version: int
    configured: bool = False
    dead_letter: FeedName | None = None
    dedup: str = ""


@dataclass(frozen=True, slots=True)
class Domain:
    """A collection of public feeds, with the profiles that the server speaks."""

    name: str
    title: str
    version: int
    feeds: tuple[Feed, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """A name and a value, in a message or in a join."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Join:
    """What a pipe wants from a feed."""

    token: Token
    pipe: Token
    feed: FeedName
    type: str
    address: str
    headers: tuple[Header, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as its pipe lists it."""

    token: Token
    address: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Pipe:
    """A subscriber's queue.

    `asynclet` is the token of the message that will come next; it is None
    when `messages` had to be cut short, for then it would not be the next
    that the reader needs.
    """

    token: Token
    type: str
    title: str
    version: int
    joins: tuple[Join, ...]
    messages: tuple[Listed, ...]
    asynclet: Token | None


@dataclass(frozen=True, slots=True)
class Embedded:
    """A content whose bytes are at hand: text as `str`, anything else as `bytes`."""

    type: str
    value: str | bytes

    @property
    def data(self) -> bytes:
        """The content's bytes; text is UTF-8."""
        return self.value.encode() if isinstance(self.value, str) else self.value

    @property
    def size(self) -> int:
        """How many bytes it has."""
        value = self.value
        return len(value) if isinstance(value, bytes) or value.isascii() else len(value.encode())


@dataclass(frozen=True, slots=True)
class Staged:
    """A content that was posted ahead, to be published by naming it."""

    token: Token


@dataclass(frozen=True, slots=True)
class Stored:
    """A delivered content that is too large to come with its message: `size` bytes."""

    token: Token
    type: str
    size: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that a publisher posted. `properties` has only names from PROPERTIES."""

    properties: Mapping[str, str]
    headers: tuple[Header, ...] = ()
    contents: tuple[Embedded | Staged, ...] = ()
    terms: Terms = PLAIN

    @property
    def address(self) -> str:
        """The address that feeds route by; empty when none was given."""
        return self.properties.get("address", "")


class Sealed(NamedTuple):
    """A message that its publisher sent in the form in which it is stored, without more terms.

    Its parts are checked as those of a Draft are. (Making one is cheap.)
    """

    address: str
    message_id: str
    blob: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a reader gets it.

    `redelivered`: another pipe had it before, and was deleted.
    """

    token: Token
    version: int
    properties: Mapping[str, str]
    headers: tuple[Header, ...]
    contents: tuple[Embedded | Stored, ...]
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Packed:
    """A message in its stored form: the CBOR of its element, passed on without decoding."""

    token: Token
    version: int
    blob: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """A content as it is found: `size` bytes of the MIME type it was published with.

    `data` has the bytes where they are few. Else they are read in pieces, by the
    name `secret` that the content has in Redis, which no client is told.
    """

    type: str
    size: int
    version: int
    data: bytes | None = field(default=None, repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of one posted message: joins that took it, joins whose pipe was full."""

    count: int
    full: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request's messages; `counted` where the profile says it to publishers.

    `level` is what they have survived so far.
    """

    counted: bool
    routed: tuple[Routed, ...]
    level: Level = Level.NODE


@dataclass(frozen=True, slots=True)
class Condition:
    """What a change or a removal requires of the resource's version.

    `versions` are those that the client's If-Match names (None: it sent
    none; empty: none of them can match).
    `unmodified_since` is in whole seconds since the epoch.
    """

    versions: frozenset[int] | None = None
    unmodified_since: int | None = None


ALWAYS = Condition()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients may ask for: bytes, characters, numbers of things, seconds."""

    document_bytes: int = 2 * 1024 * 1024
    content_bytes: int = 5 * 1024 * 1024 * 1024
    embed_bytes: int = 64 * 1024
    messages_per_request: int = 10_000
    deliveries_per_request: int = 1_000_000
    headers_per_message: int = 256
    contents_per_message: int = 64
    name_length: int = 255
    address_length: int = 1024
    text_length: int = 4096
    feeds_per_domain: int = 10_000
    pipes_per_domain: int = 100_000
    bytes_per_domain: int = 0
    joins_per_pipe: int = 1_000
    messages_per_pipe: int = 100_000
    messages_per_feed: int = 100_000
    redeliveries: int = 5
    messages_listed: int = 500
    messages_read: int = 1_000
    read_bytes: int = 2 * 1024 * 1024
    staged_seconds: float = 600
    idempotency_seconds: float = 3_600
    idle_seconds: float = 86_400


@dataclass(frozen=True, slots=True)
class ConfiguredFeed:
    """A public feed that the configuration makes."""

    name: str
    type: str = ""
    title: str = ""
    license: str = ""
    dead_letter: str = ""
    dedup: str = ""
    durability: Level = Level.NODE


@dataclass(frozen=True, slots=True)
class ConfiguredDomain:
    """A domain and its feeds, as the configuration makes them; its limits, if it has its own."""

    name: str
    title: str = ""
    feeds: tuple[ConfiguredFeed, ...] = field(default_factory=tuple)
    feeds_per_domain: int | None = None
    pipes_per_domain: int | None = None
    bytes_per_domain: int | None = None
    waits_per_domain: int | None = None
