"""The query of a URI: what is not understood is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import BadRequestError
from restms_node.queries import numbers


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {}),
        ("messages=1", {"messages": 1}),
        ("messages=0010", {"messages": 10}),
        ("messages=%31%30", {"messages": 10}),
        ("messages=10&window=5", {"messages": 10, "window": 5}),
        ("messages=" + "9" * 30, {"messages": 999_999_999}),
    ],
)
def test_numbers_are_read(query, found):
    assert numbers(query, ("messages", "window")) == found


@pytest.mark.parametrize(
    "query",
    [
        *("messages", "messages=", "messages=0", "messages=-1", "messages=1.5", "messages=ten"),
        *("messages=+1", "messages= 1", "messages=1_000", "messages=%D9%A1", "messages=1;window=2"),
        *("message=10", "Messages=10", "messages=1&messages=1", "messages=1&x=1", "=", "&x"),
        "&".join(["x=1"] * 1000),
    ],
)
def test_anything_else_is_a_bad_request(query):
    with pytest.raises(BadRequestError):
        numbers(query, ("messages",))


@given(st.text())
def test_any_text_is_read_or_refused(query):
    try:
        found = numbers(query, ("messages",))
    except BadRequestError:
        return
    assert all(number >= 1 for number in found.values())
