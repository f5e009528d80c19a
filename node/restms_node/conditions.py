"""ETags, dates and conditional requests (RFC 9110 8.8 and 13), and RestTL's waits for a change.

A version is the time of a resource's last change in microseconds; its ETag
names that and the representation, and its coding if it has one; its dates are in
whole seconds. All headers are read in linear time; several lines of one come
joined by commas.
"""

import re
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache

from restms_cluster.errors import BadRequestError
from restms_cluster.model import Condition

_SECOND = 1_000_000
_ANY = "*"
_TAG = re.compile(r'(W/)?("[^"]*")')
_VERSION = re.compile(r'"(0|[1-9a-f][0-9a-f]{0,15})-[a-z]+(?:\.[a-z]+)?"')
_CODING = re.compile(r'\.[a-z]+"')

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY = r"[a-z]{3,9}"
_ZONE = r"(?:gmt|utc)"
_FORMATS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"{_DAY}, (?P<day>[0-9]{{2}}) (?P<month>[a-z]{{3}}) (?P<year>[0-9]{{4}}) {_TIME} {_ZONE}",
        rf"{_DAY}, (?P<day>[0-9]{{2}})-(?P<month>[a-z]{{3}})-(?P<year>[0-9]{{2}}) {_TIME} {_ZONE}",
        rf"{_DAY} (?P<month>[a-z]{{3}}) (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
"""IMF-fixdate, and the two that RFC 9110 5.6.7 has for old senders."""


def etag(version: int, suffix: str) -> str:
    """Return the ETag of a version in the representation that has that suffix."""
    return f'"{version:x}-{suffix}"'


def version_of(tag: str) -> int | None:
    """Return the version that a strong ETag of ours names; None for any other text."""
    found = _VERSION.fullmatch(tag)
    return int(found[1], 16) if found else None


def http_date(version: int) -> str:
    """Return a version's date, as Last-Modified has it."""
    return date_of(version // _SECOND)


@lru_cache(maxsize=64)
def date_of(second: int) -> str:
    """Return a second since the epoch as an HTTP date."""
    return formatdate(second, usegmt=True)


def parse_date(text: str) -> int | None:
    """Return an HTTP date in seconds since the epoch; None if it is not one."""
    text = text.strip()
    for form in _FORMATS:
        found = form.fullmatch(text)
        if found is not None:
            return _date(found)
    return None


def not_modified(
    version: int, tag: str, if_none_match: str | None, if_modified_since: str | None
) -> bool:
    """Tell whether a GET is to be answered 304. If-None-Match goes before the date."""
    if if_none_match is not None:
        return _matches(tag, if_none_match)
    since = None if if_modified_since is None else parse_date(if_modified_since)
    return since is not None and version // _SECOND <= since


def condition(if_match: str | None, if_unmodified_since: str | None) -> Condition:
    """Return what a change or a removal requires. If-Match goes before the date.

    Weak ETags, and those that are not ours, match nothing; a malformed date
    requires nothing.
    """
    if if_match is None:
        since = None if if_unmodified_since is None else parse_date(if_unmodified_since)
        return Condition(unmodified_since=since)
    if if_match.strip() == _ANY:
        return Condition()
    versions = (version_of(tag) for weak, tag in _TAG.findall(if_match) if not weak)
    return Condition(frozenset(version for version in versions if version is not None))


def changed_since(
    version: int, tag: str, when_none_match: str | None, when_modified_after: str | None
) -> bool:
    """Tell whether a GET that waits for a change has waited enough (RestTL).

    Both headers: only when both say so. BadRequestError for a malformed date,
    which would otherwise end every wait at once.
    """
    if when_modified_after is not None:
        date = parse_date(when_modified_after)
        if date is None:
            raise BadRequestError("When-Modified-After is not an HTTP date.")
        if version // _SECOND <= date:
            return False
    return when_none_match is None or not _matches(tag, when_none_match)


def _matches(tag: str, tags: str) -> bool:
    """Compare weakly (RFC 9110 8.8.3.2): neither that nor a coding makes another version."""
    return tags.strip() == _ANY or any(
        tag == _CODING.sub('"', other) for _, other in _TAG.findall(tags)
    )


def _date(found: re.Match[str]) -> int | None:
    month = found["month"].lower()
    if month not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:  # RFC 850's dates have two digits
        year = _full_year(year)
    try:
        date = datetime(
            year,
            _MONTHS.index(month) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(int(found["second"]), 59),  # 60 is a leap second
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(date.timestamp()) if int(found["second"]) <= 60 else None


def _full_year(digits: int) -> int:
    # RFC 9110 5.6.7: what seems more than 50 years ahead is in the past.
    now = datetime.now(UTC).year
    year = now - now % 100 + digits
    return year - 100 if year > now + 50 else year
