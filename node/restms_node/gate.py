"""The gate: what somebody must be allowed for each request. Both fronts ask before a body is read.

Nothing is looked up to decide: an answer of 401 or 403 does not depend on what there is.
What is somebody else's is not refused, but not found: see Uris.
"""

import time
from dataclasses import dataclass
from typing import TypeAlias

from restms_cluster.errors import ForbiddenError, UnauthorizedError
from restms_cluster.names import FeedName, Kind, owner_tag
from restms_node.patterns import ANY
from restms_node.principals import Principal
from restms_node.rules import LONGEST, PRIVATE, Rules, Verb, called
from restms_node.uris import DomainName, ProfileName, Target, Uris

Need: TypeAlias = tuple[Verb, str | None, str | None]
"""A verb, a domain and what a feed is called; None is any of them that will do."""

READING = ("GET", "HEAD")
DOING = {
    Verb.CONFIGURE: "configure",
    Verb.PUBLISH: "publish to",
    Verb.SUBSCRIBE: "subscribe to",
    Verb.INSPECT: "inspect",
}
POSTS_TO_DOMAIN = (Verb.CONFIGURE, Verb.SUBSCRIBE)


class NotAllowedError(ForbiddenError):
    """No rule allows that to somebody who is known: `verb` is what he would need."""

    reason = "no_rule"

    def __init__(self, text: str, verb: Verb) -> None:
        super().__init__(text)
        self.verb = verb


class NotKnownError(UnauthorizedError):
    """No rule allows that to everybody, and who asks said nothing of who he is."""

    reason = "no_rule"

    def __init__(self, text: str, challenges: tuple[str, ...], verb: Verb) -> None:
        super().__init__(text, challenges)
        self.verb = verb


class LapsedError(UnauthorizedError):
    """The credentials by which a wait or a stream was begun are no longer good."""

    reason = "lapsed"


@dataclass(frozen=True)
class Gate:
    """Holds the rules against who asks. A node without one allows everything to everybody.

    `challenges` is what somebody who is not known is told (WWW-Authenticate).
    """

    rules: Rules
    challenges: tuple[str, ...] = ()

    def admit(self, principal: Principal, method: str, target: Target, uris: Uris) -> Uris:
        """Return the URIs as they are for who asks; raise UnauthorizedError or ForbiddenError."""
        if method != "OPTIONS":  # which tells of nothing but methods
            needs = needed(method, target)
            if not any(self.rules.allows(principal, *need) for need in needs):
                raise self._refusal(principal, needs[0])
        return Uris(uris.base, owner_tag(principal.name))

    def require_some(self, principal: Principal, verb: Verb, domain: str) -> None:
        """Raise as `require` where somebody may do that with no feed of a domain."""
        if not self.rules.allows(principal, verb, domain):
            raise self._refusal(principal, (verb, domain, None))

    def require(self, principal: Principal, verb: Verb, feed: FeedName) -> None:
        """Raise UnauthorizedError or ForbiddenError where somebody may not do that with a feed."""
        need = (verb, feed.domain, called(feed))
        if not self.rules.allows(principal, *need):
            raise self._refusal(principal, need)

    def require_everywhere(self, principal: Principal) -> None:
        """Raise as `require` where somebody may not inspect every feed of all domains."""
        if not self.rules.allow_everything(principal):
            raise self._refusal(principal, (Verb.INSPECT, ANY, None))

    def may(self, principal: Principal, verb: Verb, feed: FeedName) -> bool:
        """Tell whether somebody may do that with a feed."""
        return self.rules.allows(principal, verb, feed.domain, called(feed))

    def _refusal(self, principal: Principal, need: Need) -> ForbiddenError | UnauthorizedError:
        verb, domain, feed = need
        if principal.name == "":
            return NotKnownError("This needs credentials.", self.challenges, verb)
        if feed is None:
            what = "anything" if domain is None else f'anything in the domain "{domain}"'
        else:
            named = f'the feed "{feed}"' if len(feed) <= LONGEST else "the feed"
            what = "private feeds" if feed == PRIVATE else named
            what = f'{what} of the domain "{domain}"'
        return NotAllowedError(f"No rule lets you {DOING[verb]} {what}.", verb)


def left(principal: Principal) -> float:
    """Return how many seconds somebody's credentials are still good for."""
    return float("inf") if principal.expires is None else principal.expires - time.time()


def needed(method: str, target: Target) -> tuple[Need, ...]:
    """Return what a request needs, one of these: the table of docs/security.md."""
    match target:
        case ProfileName():
            return ((Verb.INSPECT, None, None),)
        case DomainName():
            verbs = POSTS_TO_DOMAIN if method == "POST" else (Verb.INSPECT,)
            return tuple((verb, target.name, None) for verb in verbs)
        case FeedName():
            verb = Verb.CONFIGURE
            if method in READING:
                verb = Verb.INSPECT
            elif method == "POST":
                verb = Verb.PUBLISH
            return ((verb, target.domain, called(target)),)
    # Whose they are says their tag; without one, who knows the URI may also do what made them.
    verb = Verb.PUBLISH if target.kind is Kind.CONTENT else Verb.SUBSCRIBE
    return ((verb, target.domain, None),)
