"""Files of one credential a line: fields that are separated by colons, and comments."""

from collections.abc import Iterator

from restms_node.principals import NAME_LENGTH, is_principal_name
from restms_node.watched_file import LineError

SEPARATOR = ":"
MOST_PASSWORD_BYTES = 1024


def fields_of(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield each line that says something, with its number from 1. Raises LineError."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError:
            raise LineError("This is not UTF-8.", number) from None
        if line and not line.startswith("#"):
            yield number, line


def read_name(text: str, number: int) -> str:
    """Return a name that stands on a line. Raises LineError."""
    if not is_line_name(text):
        raise LineError(f"A name has 1 to {NAME_LENGTH} characters, no colon and no comma.", number)
    return text


def read_groups(text: str, number: int) -> frozenset[str]:
    """Return the names of groups, which are separated by commas. Raises LineError."""
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    return frozenset(read_name(name, number) for name in names)


def is_line_name(text: str) -> bool:
    """Tell whether a name can stand on a line."""
    return (
        is_principal_name(text)
        and SEPARATOR not in text
        and "," not in text
        and not text.startswith("#")
    )
