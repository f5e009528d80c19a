"""The lines on which the tables and keys of a TOML file stand, which tomllib does not tell.

It is for texts that tomllib has read: all it has to find is where statements begin.
"""

import json
import re
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""How a value is reached: the names of keys, and the numbers of entries, from 0."""

_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY = re.compile(r"[ \t]*(?:([A-Za-z0-9_-]+)|(\"(?:[^\"\\\n]|\\.)*\")|'([^'\n]*)')[ \t]*")
_PIECE = re.compile(  # of a value
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]"
    r"|[^\[\]{}\n\"'#]+",
    re.DOTALL,
)


class Places:
    """The lines of one text, from 1."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._lines: dict[Path, int] = {}
        self._entries: dict[Path, int] = {}  # the last ones under double brackets
        self._scan()

    def line(self, path: Path) -> int:
        """Return the line of what a path leads to, or else of the nearest table that holds it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _scan(self) -> None:
        at, line, counted = self._skipped(0), 1, 0
        table: Path = ()
        while at < len(self._text):
            line, counted = line + self._text.count("\n", counted, at), at
            if self._text[at] == "[":
                brackets = 2 if self._text.startswith("[[", at) else 1
                keys, at = self._keys(at + brackets)
                at += brackets
                table = self._table(keys, listed=brackets == 2)
                self._lines.setdefault(table, line)
                if brackets == 2:
                    self._lines.setdefault(table[:-1], line)
            else:
                keys, at = self._keys(at)
                for count in range(len(keys)):
                    self._lines.setdefault((*table, *keys[: count + 1]), line)
                at = self._past_value(at + 1)
            at = self._skipped(at)

    def _skipped(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at

    def _keys(self, at: int) -> tuple[list[str], int]:
        """Return the parts of a dotted key, and where it ends."""
        keys = []
        while (found := _KEY.match(self._text, at)) is not None:
            bare, basic, literal = found.groups()
            keys.append(_unquoted(basic) if basic else bare or literal or "")
            at = found.end()
            if not self._text.startswith(".", at):
                break
            at += 1
        return keys, at

    def _table(self, keys: list[str], *, listed: bool) -> Path:
        """Return the path of a table, in the last entries of those that are listed."""
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if listed and number == len(keys) - 1:
                self._entries[path] = self._entries.get(path, -1) + 1
            if path in self._entries:
                path = (*path, self._entries[path])
        return path

    def _past_value(self, at: int) -> int:
        depth = 0
        while (found := _PIECE.match(self._text, at)) is not None:
            piece, at = found[0], found.end()
            depth += (piece in ("[", "{")) - (piece in ("]", "}"))
            if piece == "\n" and depth == 0:
                break
        return at


def _unquoted(text: str) -> str:
    try:
        unquoted: str = json.loads(text)  # nearly what TOML says of such keys
    except ValueError:
        return text
    return unquoted
