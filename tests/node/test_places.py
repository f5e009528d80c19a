"""The lines of a TOML file's tables and keys, beside texts whose lines are known."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_node.places import Path, Places

VALUES = (
    "1",
    "'a = 1 # no comment'",
    '"[no.table] \\" = "',
    '"""\n[[no.table]]\na = "x"\n\\"""\n""""',
    "'''\nb = 2\n[no]\n''''",
    '["[", # ]\n  "b",\n  [1, 2],\n]',
    "{a = {b = '}'}, c = [']']}",
    "1979-05-27T07:32:00Z",
    "[\n]\n# c = 3",
    '""',
    "''",
)
KEYS = st.sampled_from(["a", "b-c", "'q.r'", '"s\\"t"', "1"])
STATEMENTS = st.lists(
    st.tuples(KEYS, st.sampled_from(VALUES), st.sampled_from(["", "\n", " # x = 1", "\n# [y]"])),
    unique_by=lambda statement: statement[0],
)
UNQUOTED = {"'q.r'": "q.r", '"s\\"t"': 's"t'}


@given(STATEMENTS, st.lists(STATEMENTS), st.sampled_from(["\n", "\r\n"]))
def test_every_key_is_on_its_line(
    top: list[tuple[str, str, str]], tables: list[list[tuple[str, str, str]]], end: str
) -> None:
    text, lines = "", {}

    def add(table: Path, statements: list[tuple[str, str, str]]) -> None:
        nonlocal text
        for key, value, after in statements:
            lines[*table, UNQUOTED.get(key, key)] = text.count("\n") + 1
            text += f"{key} = {value}{after}\n"

    add((), top)
    for number, statements in enumerate(tables):
        lines["table", number] = text.count("\n") + 1
        text += "[[table]] # or not\n"
        add(("table", number), statements)
        lines["table", number, "in", 0] = text.count("\n") + 1
        text += "  [[ table . in ]]\n"
        add(("table", number, "in", 0), statements)
    tomllib.loads(text.replace("\n", end))
    places = Places(text.replace("\n", end))
    assert {path: places.line(path) for path in lines} == lines


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("a", "b", "c"), 1),
        (("t",), 3),
        (("t", "x"), 4),
        (("t", "y"), 3),
        (("t", "x", 7), 4),
        (("nowhere", 1), 1),
    ],
)
def test_what_has_no_line_is_where_it_is_held(path: Path, line: int) -> None:
    assert Places("a.b = 1\n\n[t]\nx = [{y = 1}]\n").line(path) == line


@given(st.text())
def test_any_text_has_an_end(text: str) -> None:
    assert Places(text).line(("a",)) >= 1
