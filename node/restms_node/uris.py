"""URIs: what a path names, and the absolute URI of what exists.

A client may send back any URI that it was given, absolute or relative. Only
its path counts: behind a load balancer one resource has several host names.
"""

import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from restms_cluster.errors import BadRequestError, NotFoundError
from restms_cluster.names import DEFAULT, FeedName, Kind, Token, is_domain, is_name

_PATH = re.compile(r"/restms/(domain|feed|resource|profile)/(.+)")
_ENCODED = re.compile("%([2-7][0-9A-Fa-f])")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class DomainName:
    """A domain, as a path names it."""

    name: str


@dataclass(frozen=True, slots=True)
class ProfileName:
    """A profile's page, as a path names it."""

    name: str


Target = DomainName | ProfileName | FeedName | Token


@dataclass(frozen=True, slots=True)
class Uris:
    """Makes URIs that start with `base`: scheme, authority and, behind a proxy, a path prefix.

    `owner` is the tag of who asks, None where it does not matter who does. Whatever
    tag a private resource's URI has, it is looked for under that of who asks: so what
    is somebody else's is answered as what there never was, by the very same steps.
    """

    base: str
    owner: str | None = None

    def domain(self, name: str) -> str:
        """Return a domain's URI."""
        return f"{self.base}/restms/domain/{name}"

    def profile(self, name: str) -> str:
        """Return the URI of the page about a profile."""
        return f"{self.base}/restms/profile/{name}"

    def feed(self, name: FeedName) -> str:
        """Return a feed's URI; a private feed has the URI of a private resource."""
        if name.token is not None:
            return self.resource(name.token)
        if name.domain == DEFAULT:
            return f"{self.base}/restms/feed/{name.key}"
        return f"{self.base}/restms/feed/{name.domain}/{name.key}"

    def resource(self, token: Token) -> str:
        """Return a private resource's URI."""
        return f"{self.base}/restms/resource/{token}"

    def target(self, path: str) -> Target:
        """Return what a plain path names; NotFoundError where that can be nothing."""
        prefix = urlsplit(self.base).path
        found = _PATH.fullmatch(path.removeprefix(prefix) if prefix else path)
        if found is None:
            raise NotFoundError(
                "There is nothing here. The server starts at /restms/domain/default."
            )
        match found[1]:
            case "domain" if is_domain(found[2]):
                return DomainName(found[2])
            case "profile":
                return ProfileName(found[2])
            case "feed":
                return _feed(found[2])
            case "resource":
                token = Token.parse(found[2])
                return FeedName.private(token) if token.kind is Kind.FEED else self.own(token)
        raise NotFoundError("There is no such resource.")

    def own(self, token: Token) -> Token:
        """Return the token as it is for who asks; without a tag it is anybody's who knows it."""
        return token if self.owner is None or not token.tag else token.tagged(self.owner)

    def own_feed(self, feed: FeedName) -> FeedName:
        """Return the feed as it is for who asks. Others may use a private feed, no more."""
        token = feed.token
        return feed if token is None else FeedName.private(self.own(token))

    def reference(self, path: str, href: str) -> Target:
        """Return what an href in a document names; `path` is the path it was posted to."""
        try:
            parts = urlsplit(urljoin(path, href.strip()))
        except ValueError:
            raise BadRequestError("An href in the document is not a URI.") from None
        return self.target(plain(parts.path))

    def feed_at(self, path: str, href: str, what: str) -> FeedName:
        """Return the feed that an href names; `what` begins the sentence of the BadRequestError."""
        feed = self.reference(path, href)
        if not isinstance(feed, FeedName):
            raise BadRequestError(f"{what} is the URI of a feed.")
        return feed


def plain(path: str) -> str:
    """Return a path without what is needlessly encoded (RFC 3986 6.2.2.2).

    All else that is encoded stays so, and then names nothing: no URI of ours has
    any, and what others take for a part of one segment must not divide it here.
    """
    return _ENCODED.sub(_decoded, path) if "%" in path else path


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if _UNRESERVED.fullmatch(character) else found[0]


def _feed(path: str) -> FeedName:
    domain, slash, name = path.rpartition("/")
    if not slash:
        domain = DEFAULT
    if not is_domain(domain) or not is_name(name):
        raise NotFoundError("There is no such feed.")
    return FeedName(domain, name)
