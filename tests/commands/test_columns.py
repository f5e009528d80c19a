"""What is printed for people: columns that stand in line, whatever is in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_node.columns import age, clean, cut, size, table, width


def test_numbers_stand_at_the_right_and_texts_at_the_left() -> None:
    assert [*table(("NAME", "N", "AGE"), [("a", 1, "-"), ("名前", 1000, "3 h")])] == [
        "NAME     N  AGE",
        "a        1    -",
        "名前  1000  3 h",
    ]
    assert [*table(("NAME", "N"), [])] == ["NAME  N"]


@given(st.text(max_size=20))
def test_a_clean_text_is_printable_and_tells_what_it_was(text: str) -> None:
    shown = clean(text)
    assert shown.isprintable()
    assert clean(shown) == shown or "\\" in shown
    if text.isprintable() and "\\" not in text:
        assert shown == text


@given(st.lists(st.lists(st.text(max_size=5), min_size=3, max_size=3), max_size=5))
def test_lines_are_lines(rows: list[list[str]]) -> None:
    lines = [*table(("A", "B", "C"), rows)]
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes(number: int | None, words: str) -> None:
    assert size(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_ages(seconds: float | None, words: str) -> None:
    assert age(seconds) == words


def test_long_texts_are_cut() -> None:
    assert cut("a" * 40) == "a" * 40
    assert cut("a" * 41) == "a" * 39 + "…"
    assert width("é") == 1
