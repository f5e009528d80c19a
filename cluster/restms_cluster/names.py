"""Names, addresses and the tokens of private resources.

A private resource is known only by its token: knowing it is the right to use
it, so it carries at least 128 bits from a secure random source. The token also
tells any node where the resource lives (its domain, hence its Redis slot) and
what it is, so that one round trip finds it:

    [{domain}.]{kind}{32 hex digits}[{owner's tag}][-{message number}[-{content number}]]

The domain is left out for the domain `default`. A message is its pipe's token
and a number, a delivered content its message's and a number. What somebody made
whose name the server knows has a tag of that name, 16 hex digits. It is a part of
the resource's key, so with another tag there is nothing.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Self

from restms_cluster.errors import BadRequestError, NotFoundError

DEFAULT = "default"
"""The name of the domain, and of the feed in every domain, that always exist."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]*", re.ASCII)
_DOMAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", re.ASCII)
_TOKEN = re.compile(
    r"(?:(?P<domain>[A-Za-z0-9_][A-Za-z0-9_-]{0,62})\.)?"
    r"(?P<kind>[fpjc])(?P<secret>[0-9a-f]{32}(?:[0-9a-f]{16})?)"
    r"(?:-(?P<number>[1-9][0-9]{0,15})(?:-(?P<content>[1-9][0-9]{0,5}))?)?",
    re.ASCII,
)

_RANDOM_DIGITS = 32
_TAG_DIGITS = 16
_OWNED = b"restms owner\0"  # so that the tag is a digest of nothing else

# What XML 1.0 can carry in an attribute. Every representation must be able to
# say what any other said, so this is the rule for all of them.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Kind(StrEnum):
    """The first letter of a private resource's token."""

    FEED = "f"
    PIPE = "p"
    JOIN = "j"
    CONTENT = "c"


@dataclass(frozen=True, slots=True)
class Token:
    """A private resource's identity, as it stands at the end of its URI."""

    kind: Kind
    secret: str
    domain: str = DEFAULT
    number: int | None = None
    content: int | None = None

    @classmethod
    def new(cls, kind: Kind, domain: str, tag: str = "") -> Self:
        """Make a token that nobody can guess (128 random bits), with the tag of its owner."""
        return cls(kind, secrets.token_hex(_RANDOM_DIGITS // 2) + tag, domain)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token; NotFoundError when it cannot be one of ours."""
        found = _TOKEN.fullmatch(text)
        if found is None or (found["number"] and found["kind"] != Kind.PIPE):
            raise NotFoundError("There is no such resource.")
        number, content = found["number"], found["content"]
        return cls(
            Kind(found["kind"]),
            found["secret"],
            found["domain"] or DEFAULT,
            int(number) if number else None,
            int(content) if content else None,
        )

    def message(self, number: int) -> Self:
        """Return the token of this pipe's message of that number."""
        return type(self)(self.kind, self.secret, self.domain, number)

    def part(self, content: int) -> Self:
        """Return the token of this message's content of that number, from 1."""
        return type(self)(self.kind, self.secret, self.domain, self.number, content)

    def pipe(self) -> Self:
        """Return the token of the pipe that holds this message or content."""
        return type(self)(self.kind, self.secret, self.domain)

    @property
    def tag(self) -> str:
        """The tag of the owner; empty where nobody was known to make it."""
        return self.secret[_RANDOM_DIGITS:]

    def tagged(self, tag: str) -> Self:
        """Return the token that this would be if that were its owner's tag."""
        if self.secret[_RANDOM_DIGITS:] == tag:
            return self
        return replace(self, secret=self.secret[:_RANDOM_DIGITS] + tag)

    def __str__(self) -> str:
        """Return the token as it stands in a URI."""
        text = f"{self.kind}{self.secret}"
        if self.domain != DEFAULT:
            text = f"{self.domain}.{text}"
        if self.number is not None:
            text = f"{text}-{self.number}"
        if self.content is not None:
            text = f"{text}-{self.content}"
        return text


@dataclass(frozen=True, slots=True)
class FeedName:
    """A feed's identity within the cluster: its domain and its public name or its token.

    `key` is the public name, or `~` and the secret of a private feed. No
    public name starts with `~`, so the two never meet.
    """

    domain: str
    key: str

    @classmethod
    def private(cls, token: Token) -> Self:
        """Return the identity of the private feed that has this token."""
        return cls(token.domain, f"~{token.secret}")

    @property
    def token(self) -> Token | None:
        """The token of a private feed, None for a public one."""
        return Token(Kind.FEED, self.key[1:], self.domain) if self.key[0] == "~" else None


@lru_cache(maxsize=4096)
def owner_tag(name: str) -> str:
    """Return the tag that private resources of somebody of that name have; empty for nobody."""
    if not name:
        return ""
    return hashlib.sha256(_OWNED + name.encode()).hexdigest()[:_TAG_DIGITS]


def is_name(text: str) -> bool:
    """Tell whether a text can be a public feed's name."""
    return _NAME.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Tell whether a text can be a domain's name."""
    return _DOMAIN.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Tell whether every representation can carry this text as text."""
    return _NOT_XML.search(text) is None


def check_name(text: str, longest: int) -> str:
    """Return the name; BadRequestError if it cannot be a public feed's name."""
    if len(text) > longest:
        raise BadRequestError(f"A feed's name has at most {longest} characters.")
    if not is_name(text):
        raise BadRequestError(
            "A feed's name has letters, digits and . _ ~ - only, and starts with a letter, "
            "a digit or _."
        )
    return text


def check_text(what: str, text: str, longest: int) -> str:
    """Return the text; BadRequestError if it is too long or no representation can carry it."""
    if len(text) > longest:
        raise BadRequestError(f"{what} has at most {longest} characters.")
    if not is_plain(text):
        raise BadRequestError(f"{what} has a character that XML cannot carry.")
    return text
