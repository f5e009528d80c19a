"""The terms of a message's delivery: how long it is worth it, how urgent, from when on.

`expiration` and `priority` are AMQP's (4/AMQP9): milliseconds, and 0 to 9.
`delay` (milliseconds) and `deliver_at` (an RFC 3339 date-time) are our own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from restms_cluster.errors import BadRequestError

LONGEST_MILLISECONDS = 10 * 366 * 86_400_000
LONGEST_WINDOW = 30 * 86_400
DELAYS = ("delay", "deliver_at")
"""The attributes that only say when to deliver; they are not carried to the reader."""

_MILLISECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,8}(\.[0-9]{1,3})?", re.ASCII)
_PRIORITY = re.compile(r"[0-9]", re.ASCII)
_DATE_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?P<fraction>\.[0-9]{1,6})?(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """`life` (ms) and `priority`; then `delay` (ms from now) or `at` (ms since the epoch)."""

    life: int | None = None
    priority: int = 0
    delay: int | None = None
    at: int | None = None

    def __str__(self) -> str:
        """Return what the scripts know them by; nothing where they ask for nothing."""
        if self == PLAIN:
            return ""
        life = "-" if self.life is None else self.life
        when = f"+{self.delay}" if self.delay is not None else "-" if self.at is None else self.at
        return f"{life} {self.priority} {when}"


PLAIN = Terms()


def read_terms(attributes: Mapping[str, object]) -> Terms:
    """Return the terms that a message's attributes ask for.

    Raises BadRequestError, with one sentence, for what is no time or no priority.
    """
    delay, at = (_text(attributes, name) for name in DELAYS)
    if delay and at:
        raise BadRequestError("A message has a delay or a deliver_at, not both.")
    priority = _text(attributes, "priority")
    if priority and _PRIORITY.fullmatch(priority) is None:
        raise BadRequestError("A message's priority is a number from 0 to 9.")
    life = _text(attributes, "expiration")
    return Terms(
        _milliseconds("expiration", life) if life else None,
        int(priority or 0),
        _milliseconds("delay", delay) if delay else None,
        _since_epoch(at) if at else None,
    )


def read_window(text: str | None) -> str | None:
    """Return a feed's window for repeated messages, in seconds; empty or zero for none.

    Raises BadRequestError, with one sentence, for what is no number of seconds.
    """
    if not text:
        return text
    if _SECONDS.fullmatch(text) is None or float(text) > LONGEST_WINDOW:
        raise BadRequestError(
            f"A feed's dedup is a number of seconds from 0.001 to {LONGEST_WINDOW}, or 0 for none."
        )
    return text if float(text) > 0 else ""


def _text(attributes: Mapping[str, object], name: str) -> str:
    value = attributes.get(name, "")
    if type(value) is not str:
        raise BadRequestError(f"In the document, {name} is not text.")
    return value


def _milliseconds(name: str, text: str) -> int:
    number = int(text) if _MILLISECONDS.fullmatch(text) else LONGEST_MILLISECONDS + 1
    if number > LONGEST_MILLISECONDS:
        raise BadRequestError(
            f"A message's {name} is a number of milliseconds, {LONGEST_MILLISECONDS} at most."
        )
    return number


def _since_epoch(text: str) -> int:
    found = _DATE_TIME.fullmatch(text)
    if found is not None:
        # Python reads fractions of three or six digits only.
        fraction = (found["fraction"] or ".").ljust(7, "0")
        zone = "+00:00" if found["zone"] in "Zz" else found["zone"]
        try:
            moment = datetime.fromisoformat(f"{found['date']}T{found['time']}{fraction}{zone}")
            return max(0, int(moment.timestamp() * 1000))
        except (ValueError, OverflowError):
            pass  # a month 13, a zone of a hundred hours
    raise BadRequestError(
        "A message's deliver_at is a date and time with its zone, as 2030-01-31T12:00:00Z."
    )
