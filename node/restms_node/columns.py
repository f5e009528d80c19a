"""What the commands for operators print: columns for people, safe on any terminal.

Titles and names come from strangers. What a terminal could take for a command, or what turns
the direction of writing, is shown as its code.
"""

import unicodedata
from collections.abc import Iterator, Sequence

LONGEST = 40  # columns of a text
UNKNOWN = "-"

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_AGES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def table(heads: Sequence[str], rows: Sequence[Sequence[str | int]]) -> Iterator[str]:
    """Return the lines of a table: numbers, and what begins with a digit, stand at the right."""
    texts = [[clean(str(cell)) for cell in row] for row in rows]
    widths = [max([width(head), *(width(row[n]) for row in texts)]) for n, head in enumerate(heads)]
    right = [_are_numbers([row[n] for row in texts]) for n in range(len(heads))]
    for line in (heads, *texts):
        cells = [
            " " * (widths[n] - width(cell)) + cell
            if right[n]
            else cell + " " * (widths[n] - width(cell))
            for n, cell in enumerate(line)
        ]
        yield "  ".join(cells).rstrip()


def clean(text: str) -> str:
    """Return a text as a terminal may show it; a backslash stands before what is a code."""
    text = text.replace("\\", "\\\\")
    return "".join(one if one.isprintable() else _code(one) for one in text)


def cut(text: str, longest: int = LONGEST) -> str:
    """Return the beginning of a text that is too long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def width(text: str) -> int:
    """Return how many columns a terminal takes for a text."""
    return sum(_width(one) for one in text)


def size(number: int | None) -> str:
    """Return a number of bytes in words."""
    if number is None:
        return UNKNOWN
    value, unit = float(number), _UNITS[0]
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def age(seconds: float | None) -> str:
    """Return a time in words, in whole units, of which it has at least one."""
    if seconds is None:
        return UNKNOWN
    for unit, name in _AGES:
        if seconds >= unit:
            return f"{int(seconds / unit)} {name}"
    return "0 s"


def known(value: object) -> str:
    """Return a value, or the sign that it is not known."""
    return UNKNOWN if value is None or value == "" else str(value)


def plural(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _are_numbers(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if cell != UNKNOWN]
    return bool(known) and all(cell[:1].isdigit() for cell in known)


def _width(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def _code(one: str) -> str:
    number = ord(one)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{{{number:x}}}"
