"""Rules: how they are written, and what they come to."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import StartError
from restms_node.options import load
from restms_node.principals import ANONYMOUS, Principal
from restms_node.rules import Rules, Verb, read_rules
from restms_node.tables import FaultError

DOMAINS = {"default", "sales"}
ALICE = Principal("alice", frozenset({"staff"}))
BOB = Principal("bob")
RULES = """
[[rule]]
principal = "alice"
verbs = ["publish", "configure"]
domain = "default"
feed = "news.*"

[[rule]]
group = "staff"
verbs = ["subscribe"]
domain = "*"
feed = "*"

[[rule]]
principal = "*"
verbs = ["inspect"]
domain = "sales"
feed = "price?"

[[rule]]
principal = "anonymous"
verbs = ["subscribe"]
domain = "default"
feed = "public"
"""


def rules(text: str) -> Rules:
    return Rules(read_rules(tomllib.loads(text).get("rule", []), DOMAINS))


@pytest.mark.parametrize(
    ("who", "verb", "domain", "feed", "allowed"),
    [
        (ALICE, "publish", "default", "news.sports", True),
        (ALICE, "publish", "default", "news", False),
        (ALICE, "publish", "default", "NEWS.sports", False),
        (ALICE, "publish", "sales", "news.sports", False),
        (ALICE, "inspect", "default", "news.sports", True),  # any verb lets her see it
        (ALICE, "subscribe", "sales", "orders", True),  # by her group
        (ALICE, "subscribe", "sales", "~", True),  # private feeds are called so
        (ALICE, "publish", "sales", "orders", False),
        (BOB, "publish", "default", "news.sports", False),
        (BOB, "inspect", "sales", "price1", True),
        (BOB, "inspect", "sales", "price", False),
        (BOB, "subscribe", "sales", "price1", False),
        (BOB, "subscribe", "default", "public", True),  # as everybody
        (ANONYMOUS, "subscribe", "default", "public", True),
        (ANONYMOUS, "inspect", "default", "public", True),
        (ANONYMOUS, "publish", "default", "public", False),
        (ANONYMOUS, "inspect", "sales", "price1", False),  # is not known
        (Principal("", frozenset({"staff"})), "subscribe", "sales", "orders", True),
        (ALICE, "configure", "default", None, True),  # some feed there
        (ALICE, "configure", "sales", None, False),
        (BOB, "inspect", None, None, True),  # some feed anywhere
        (ANONYMOUS, "configure", None, None, False),
    ],
)
def test_what_no_rule_allows_is_refused(
    who: Principal, verb: str, domain: str | None, feed: str | None, allowed: bool
) -> None:
    assert rules(RULES).allows(who, Verb(verb), domain, feed) is allowed


def test_without_rules_nobody_may_do_anything() -> None:
    assert not rules("").allows(ALICE, Verb.INSPECT, None)


def test_names_of_any_length_are_decided_but_not_kept() -> None:
    held = rules(RULES)
    assert held.allows(ALICE, Verb.PUBLISH, "default", "news." + "x" * 10_000)
    assert not held.allows(BOB, Verb.PUBLISH, "default", "news." + "x" * 10_000)


NAMES = st.sampled_from(["alice", "bob", ""])
FEEDS = st.sampled_from(["a", "ab", "b", "~"])
ENTRIES = st.fixed_dictionaries(
    {
        "verbs": st.lists(st.sampled_from(list(Verb)), min_size=1).map(
            lambda verbs: [str(verb) for verb in verbs]
        ),
        "domain": st.sampled_from(["default", "sales", "*"]),
        "feed": st.sampled_from(["a", "b*", "?", "*", "~"]),
    }
).flatmap(
    lambda entry: st.sampled_from(["principal", "group"]).flatmap(
        lambda key: st.sampled_from(
            ["alice", "bob", "*", "anonymous"] if key == "principal" else ["staff"]
        ).map(lambda who: {**entry, key: who})
    )
)


@given(
    st.lists(ENTRIES, max_size=4),
    st.lists(st.tuples(NAMES, st.booleans(), st.sampled_from(list(Verb)), FEEDS), max_size=8),
)
def test_rules_add_up_whatever_was_asked_before(
    entries: list[dict[str, object]], questions: Iterable[tuple[str, bool, Verb, str]]
) -> None:
    together = Rules(read_rules(entries, DOMAINS))
    alone = [Rules(read_rules([entry], DOMAINS)) for entry in entries]
    for name, in_group, verb, feed in questions:
        who = Principal(name, frozenset({"staff"} if in_group else ()))
        allowed = together.allows(who, verb, "default", feed)
        assert allowed is any(one.allows(who, verb, "default", feed) for one in alone)


RULE = {"principal": "alice", "verbs": ["publish"], "domain": "default", "feed": "*"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"principal": "alice "}, "anybody's name"),
        ({"principal": ""}, "a principal of 1"),
        ({"principal": 7}, "must be a text"),
        ({"principal": "a\u0001"}, "a principal of 1"),
        ({"group": "staff"}, "either a principal or a group"),
        ({"principal": None}, "either a principal or a group"),
        ({"principal": None, "group": "*"}, 'for whoever is known, principal is "*"'),
        ({"verbs": []}, "one or more of"),
        ({"verbs": "publish"}, "list of texts"),
        ({"verbs": ["read"]}, "configure, publish, subscribe, inspect"),
        ({"verbs": [1]}, "list of texts"),
        ({"verbs": None}, "one or more of"),
        ({"domain": "nowhere"}, "domain of the rule 2"),
        ({"domain": "de*"}, "domain of the rule 2"),
        ({"domain": None}, "has a domain"),
        ({"feed": None}, "has a feed"),
        ({"feed": "x" * 256}, "has a feed"),
        ({"feeds": "*"}, 'unknown key "feeds"'),
    ],
)
def test_a_wrong_rule_is_told_with_its_number(change: dict[str, object], said: str) -> None:
    wrong = {key: value for key, value in {**RULE, **change}.items() if value is not None}
    with pytest.raises(FaultError, match="rule 2") as fault:
        read_rules([RULE, wrong], DOMAINS)
    assert said in str(fault.value)
    assert fault.value.path[:2] == ("rule", 1)


def test_rules_without_an_authenticator_protect_nothing() -> None:
    with pytest.raises(FaultError, match="need an authenticator"):
        read_rules([RULE], DOMAINS, authenticators=False)
    assert read_rules([], DOMAINS, authenticators=False) == ()


def test_a_wrong_rule_stops_the_start_with_its_line(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("")
    file = tmp_path / "restms.toml"
    file.write_text(
        """[[authenticator]]
type = "basic"
file = "users"

[[rule]]
principal = "alice"
verbs = ["publish"]
domain = "default"
feed = "*"

[[rule]]
principal = "bob"
verbs = ["publish", "read"]
domain = "default"
feed = "*"
"""
    )
    with pytest.raises(StartError) as fault:
        load({"config": str(file)}, {})
    assert str(fault.value).startswith(f"{file}:13: The verbs of the rule 2")


@pytest.mark.parametrize("value", [{}, "rule", [1]])
def test_rules_are_tables(value: object) -> None:
    with pytest.raises(FaultError, match="double brackets"):
        read_rules(value, DOMAINS)
