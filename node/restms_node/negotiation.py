"""Headers about types and preferences: Accept, Content-Type (RFC 9110) and Prefer (RFC 7240).

All are read in linear time, however they are malformed. Header lines of one
name come joined by commas.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from restms_cluster.errors import BadRequestError, UnsupportedTypeError
from restms_node.representations import REPRESENTATIONS, Representation, find

MAX_WAIT = 10**6
"""The longest wait, in seconds, that a preference can mean."""

MEDIA_TYPES = tuple(known.media_type for known in REPRESENTATIONS)

_KEPT = 128  # clients send the same few values again and again
_TYPE_LENGTH = 255
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE = re.compile(rf"(\*|{_WORD}/{_WORD})[ \t]*")
_QUALITY = re.compile(r"0?\.[0-9]{1,9}|0\.?|1(?:\.0{0,9})?")
_MIME_TYPE = re.compile(
    # Every space has one place where it can belong, so nothing is tried in two ways.
    rf"{_WORD}/{_WORD}"
    rf'(?:[ \t]*;(?:[ \t]*{_WORD}=(?:{_WORD}|"(?:[ !#-\[\]-~]|\\[ -~])*"))?)*[ \t]*'
)
# A quoted string without its closing quote runs to the end, so nothing is read twice.
_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"?|[^",;]+|[,;]', re.DOTALL)
_UTF_8 = "utf-8"
_CHARSETS = frozenset({_UTF_8, "us-ascii"})


@dataclass(frozen=True, slots=True)
class Prefer:
    """What a client prefers: how long to wait, in seconds, and whether to answer minimally."""

    wait: int | None = None
    minimal: bool = False


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A media range with its weight, and its place in the client's list."""

    type: str
    subtype: str
    quality: float
    place: int

    @property
    def specificity(self) -> int:
        return (self.type != "*") + (self.subtype != "*")

    def covers(self, media_type: str) -> bool:
        kind, _, subtype = media_type.partition("/")
        return self.type in {"*", kind} and self.subtype in {"*", subtype}


@lru_cache(maxsize=_KEPT)
def choose(accept: str | None) -> Representation:
    """Return the representation that the client likes best (RFC 9110 12.5.1).

    The highest weight wins, then the most specific range, the client's order,
    and ours. UnsupportedTypeError if it accepts none. What is malformed is
    passed over; nothing left means anything.
    """
    if not accept:
        return REPRESENTATIONS[0]
    known = find(accept)
    if known is not None:
        return known
    media_type = choose_among(accept, MEDIA_TYPES)
    return REPRESENTATIONS[MEDIA_TYPES.index(media_type)]


def choose_among(accept: str, offered: Sequence[str]) -> str:
    """Return the media type that the client likes best of those that are offered, ours first."""
    members = [_members(member) for member in _split(accept, ",")]
    ranges = [found for place, member in enumerate(members) if (found := _range(member, place))]
    if not ranges:
        return offered[0]
    best: tuple[float, int, int] | None = None
    chosen = None
    for media_type in offered:
        covering = [found for found in ranges if found.covers(media_type)]
        if not covering:
            continue
        # The most specific range decides on a type, even to refuse it.
        decides = max(covering, key=lambda found: (found.specificity, -found.place))
        rank = (decides.quality, decides.specificity, -decides.place)
        if decides.quality > 0 and (best is None or rank > best):
            best, chosen = rank, media_type
    if chosen is None:
        raise UnsupportedTypeError(f"The server writes {', '.join(offered)} only.")
    return chosen


@lru_cache(maxsize=_KEPT)
def content_representation(content_type: str | None) -> Representation | None:
    """Return the representation that a request's body is in; None if it is no document.

    Raises UnsupportedTypeError for a document in JSON whose charset is not
    UTF-8. A document in XML says its encoding itself.
    """
    if content_type is None:
        return None
    media_type, *parameters = _split(content_type, ";")
    representation = find(media_type.lower())
    json = representation is not None and representation.media_type.endswith("+json")
    if json and _charset(parameters) not in _CHARSETS:
        raise UnsupportedTypeError("The server reads JSON in UTF-8 only.")
    return representation


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters, in lower case."""
    return _split(content_type, ";")[0].lower()


def mime_type(content_type: str) -> str:
    """Return a content's MIME type as it was given; BadRequestError if it is not one."""
    content_type = content_type.strip(" \t")
    if len(content_type) > _TYPE_LENGTH:
        raise BadRequestError(f"A MIME type has at most {_TYPE_LENGTH} characters.")
    if _MIME_TYPE.fullmatch(content_type) is None:
        raise BadRequestError("A content's type is not a MIME type.")
    return content_type


def is_text(content_type: str) -> bool:
    """Tell whether a MIME type is that of text in UTF-8, as far as it says."""
    media_type, *parameters = _split(content_type, ";")
    if not media_type.lower().startswith("text/"):
        return False
    return _charset(parameters) in _CHARSETS


def weights(values: str) -> dict[str, float]:
    """Return the members of a list like Accept-Encoding, in lower case, each with its weight.

    A member whose weight is malformed is passed over.
    """
    found = {}
    for member in _split(values, ","):
        name, *parameters = _members(member)
        quality = "1"
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                quality = value.strip()
        if name and _QUALITY.fullmatch(quality):
            found[name.lower()] = float(quality)
    return found


@lru_cache(maxsize=_KEPT)
def parse_prefer(values: str | None) -> Prefer:
    """Return the preferences that the server knows; of one given twice, the first counts."""
    if not values:
        return Prefer()
    given: dict[str, str] = {}
    for preference in _split(values, ","):
        name, _, value = _members(preference)[0].partition("=")
        given.setdefault(name.strip().lower(), _unquoted(value))
    return Prefer(_seconds(given.get("wait", "")), given.get("return", "").lower() == "minimal")


def _charset(parameters: list[str]) -> str:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return _unquoted(value).lower()
    return _UTF_8


def _split(text: str, separator: str) -> list[str]:
    """Split a list where the separator stands outside of quoted strings."""
    if '"' not in text:
        return [member.strip(" \t") for member in text.split(separator)]
    return list(_quoted_members(text, separator))


def _quoted_members(text: str, separator: str) -> Iterator[str]:
    member: list[str] = []
    for piece in _PIECES.findall(text):
        if piece == separator:
            yield "".join(member).strip(" \t")
            member = []
        else:
            member.append(piece)
    yield "".join(member).strip(" \t")


def _members(text: str) -> list[str]:
    return _split(text, ";")


def _range(member: list[str], place: int) -> _Accepted | None:
    found = _RANGE.fullmatch(member[0])
    if found is None:
        return None
    kind, _, subtype = found[1].lower().partition("/")
    subtype = subtype or "*"  # a bare * is not the standard's, but Java's, for */*
    quality = 1.0
    for parameter in member[1:]:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name.lower() == "q":
            if _QUALITY.fullmatch(value) is None:
                return None
            quality = float(value)
            break
        if name and name.lower() != "charset":
            # No type of ours has parameters, so this range covers none of them.
            return _Accepted(kind, "", 0.0, place)
    if kind == "*" and subtype != "*":
        return None
    return _Accepted(kind, subtype, quality, place)


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _seconds(value: str) -> int | None:
    if not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0") or "0"
    return MAX_WAIT if len(digits) > len(str(MAX_WAIT)) else min(int(digits), MAX_WAIT)
