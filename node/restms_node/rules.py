"""Rules: who may do what, with which feeds. What no rule allows is refused.

    [[rule]]
    principal = "weather-station"
    verbs = ["publish"]
    domain = "sensors"
    feed = "readings.*"

A rule is for a principal, by name, or for a `group`; `*` is everybody who is known,
and `anonymous` is everybody. It is about the feeds of a domain (`*`: of any) whose
names fit a pattern; there all private feeds are called `~`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from restms_cluster.names import FeedName, is_plain
from restms_node.patterns import ANY, Pattern
from restms_node.principals import Principal, is_principal_name
from restms_node.tables import Table, listed

RULE = "rule"
ANONYMOUS = "anonymous"
PRIVATE = "~"
"""What private feeds are called in rules; no public feed has such a name."""

LONGEST = 255  # characters of a pattern, and of the names whose decisions are kept
DECISIONS_KEPT = 8192
PRINCIPALS_KEPT = 1024
KEYS = ("principal", "group", "verbs", "domain", "feed")


class Verb(StrEnum):
    """What somebody may do with a feed. Whoever may do any of it may also inspect the feed."""

    CONFIGURE = "configure"
    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    INSPECT = "inspect"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may do what with which feeds: either `principal` or `group` is given."""

    principal: str
    group: str
    verbs: frozenset[Verb]
    domain: str
    feed: Pattern

    def is_for(self, name: str, groups: Collection[str]) -> bool:
        """Tell whether the rule speaks of somebody; an empty name is nobody known."""
        if self.group:
            return self.group in groups
        if self.principal == ANONYMOUS:
            return True
        return name != "" and self.principal in (ANY, name)

    def allows(self, verb: Verb, domain: str | None, feed: str | None) -> bool:
        """Tell whether that may be done with a feed; None is some feed, in some domain."""
        return (
            (verb is Verb.INSPECT or verb in self.verbs)
            and (domain is None or self.domain in (ANY, domain))
            and (feed is None or self.feed.matches(feed))
        )


class Rules:
    """The rules of a node. What they come to is kept, of so many questions and no more."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._of = lru_cache(maxsize=PRINCIPALS_KEPT)(self._find)
        self._kept = lru_cache(maxsize=DECISIONS_KEPT)(self._decide)

    def allows(
        self, principal: Principal, verb: Verb, domain: str | None, feed: str | None = None
    ) -> bool:
        """Tell whether somebody may do that with a feed; None is some feed, in some domain."""
        decide = self._decide if feed is not None and len(feed) > LONGEST else self._kept
        return decide(principal.name, principal.groups, verb, domain, feed)

    def allow_everything(self, principal: Principal) -> bool:
        """Tell whether one rule lets somebody inspect all feeds of all domains, also later ones."""
        return any(
            rule.domain == ANY and rule.feed.text == ANY
            for rule in self._of(principal.name, principal.groups)
        )

    def _decide(
        self,
        name: str,
        groups: frozenset[str],
        verb: Verb,
        domain: str | None,
        feed: str | None,
    ) -> bool:
        return any(rule.allows(verb, domain, feed) for rule in self._of(name, groups))

    def _find(self, name: str, groups: frozenset[str]) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._rules if rule.is_for(name, groups))


def called(feed: FeedName) -> str:
    """Return what a feed is called in rules."""
    return PRIVATE if feed.token is not None else feed.key


def read_rules(
    value: object, domains: Collection[str], *, authenticators: bool = True
) -> tuple[Rule, ...]:
    """Read the file's key `rule`; `domains` are those that there are.

    Raises FaultError with one sentence, which tells the number of the rule.
    """
    tables = listed(value, RULE, (RULE,))
    if tables and not authenticators:
        raise tables[0].fault("Rules need an authenticator; without one everybody may do all.")
    return tuple(
        _rule(replace(table, what=f"rule {number}"), domains)
        for number, table in enumerate(tables, start=1)
    )


def _rule(table: Table, domains: Collection[str]) -> Rule:
    table.check_keys(KEYS)
    if ("principal" in table.values) == ("group" in table.values):
        raise table.fault(f"The {table.what} must have either a principal or a group.")
    domain = _text(table, "domain")
    if domain != ANY and domain not in domains:
        text = f'The domain of the {table.what} must be one that there is, or "*".'
        raise table.fault(text, "domain")
    return Rule(
        _principal(table) if "principal" in table.values else "",
        _group(table) if "group" in table.values else "",
        _verbs(table),
        domain,
        Pattern(_text(table, "feed")),
    )


def _principal(table: Table) -> str:
    name = _text(table, "principal")
    if name != ANY and not is_principal_name(name):
        raise table.fault(
            f"The principal of the {table.what} cannot be anybody's name.", "principal"
        )
    return name


def _group(table: Table) -> str:
    name = _text(table, "group")
    if name == ANY:
        raise table.fault(
            f'The group of the {table.what} is one group; for whoever is known, principal is "*".',
            "group",
        )
    return name


def _verbs(table: Table) -> frozenset[Verb]:
    words = table.texts("verbs")
    if not words or not set(words) <= set(Verb):
        text = f"The verbs of the {table.what} are one or more of {', '.join(Verb)}."
        raise table.fault(text, "verbs")
    return frozenset(map(Verb, words))


def _text(table: Table, key: str) -> str:
    text = table.text(key)
    if not 0 < len(text) <= LONGEST or not is_plain(text):
        raise table.fault(f"The {table.what} has a {key} of 1 to {LONGEST} characters.", key)
    return text
