"""Ranges of a content (RFC 9110 14): which bytes a GET asks for.

One range is answered; a request for several is answered whole, as RFC 9110 14.2
allows: who asks for several gets them faster by requests of their own.
"""

import re

from restms_node.conditions import parse_date

_RANGE = re.compile(r"bytes[ \t]*=[ \t,]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t,]*", re.IGNORECASE)
_SECOND = 1_000_000
_MOST_DIGITS = 18  # more than any content has; beyond them a number's size is all that counts


class UnsatisfiableError(Exception):
    """A range that has no byte of the content."""


def requested(value: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a Range header asks for, of a content of this size.

    None where the whole content is the answer: without the header, with one that
    cannot be read, that asks for several ranges or in other units, and for an empty
    content. Raises UnsatisfiableError for a range that lies beyond the end.
    """
    found = _RANGE.fullmatch(value.strip()) if value else None
    if found is None or size == 0:
        return None
    if found[3] is not None:
        length = _number(found[3])
        if length == 0:
            raise UnsatisfiableError
        return max(0, size - length), size - 1
    first = _number(found[1])
    last = _number(found[2]) if found[2] else size - 1
    if found[2] and _before(found[2], found[1]):
        return None  # RFC 9110 14.1.1: not a range at all
    if first >= size:
        raise UnsatisfiableError
    return first, min(last, size - 1)


def still(if_range: str | None, tag: str, version: int) -> bool:
    """Tell whether the client's part belongs to this version (If-Range, RFC 9110 13.1.5).

    `tag` is the content's strong ETag; a date must be its Last-Modified exactly.
    """
    if if_range is None:
        return True
    if_range = if_range.strip()
    return if_range == tag or parse_date(if_range) == version // _SECOND


def _before(one: str, other: str) -> bool:
    """Compare numbers of any length."""
    one, other = one.lstrip("0"), other.lstrip("0")
    return (len(one), one) < (len(other), other)


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
