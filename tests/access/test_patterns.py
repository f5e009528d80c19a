"""Patterns of names in rules."""

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from restms_node.patterns import Pattern

NAMES = st.text("ab.B~", max_size=12)
PATTERNS = st.text("ab.B*?", max_size=10)


def as_regular_expression(pattern: str) -> re.Pattern[str]:
    """The pattern in another language, whose meaning is known."""
    known = {"*": ".*", "?": "."}
    return re.compile("".join(known.get(c, re.escape(c)) for c in pattern), re.DOTALL)


@given(PATTERNS, NAMES)
def test_a_pattern_means_what_the_regular_expression_does(pattern: str, name: str) -> None:
    expected = as_regular_expression(pattern).fullmatch(name) is not None
    assert Pattern(pattern).matches(name) is expected


@given(st.text(max_size=8), st.text(max_size=8))
def test_any_character_but_two_is_itself(pattern: str, name: str) -> None:
    expected = as_regular_expression(pattern).fullmatch(name) is not None
    assert Pattern(pattern).matches(name) is expected


@given(NAMES)
def test_a_name_without_wildcards_fits_itself_only(name: str) -> None:
    pattern = Pattern(name)
    assert pattern.matches(name)
    assert not pattern.matches(name + "a")
    assert not pattern.matches(name.swapcase()) or name == name.swapcase()


def test_no_pattern_makes_matching_dear() -> None:
    pattern = Pattern("*a" * 127)  # for which a matcher that goes back would go back for ever
    begun = time.process_time()
    assert not pattern.matches("a" * 126 + "b" * 20_000)
    assert time.process_time() - begun < 1
