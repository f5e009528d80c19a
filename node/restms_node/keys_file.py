"""The file of those who come in by a key, one key a line:

    PREFIX:HASH:NAME
    PREFIX:HASH:NAME:GROUP,GROUP
    PREFIX:HASH:NAME:GROUP,GROUP:2027-01-31T00:00:00Z

A key is PREFIX.SECRET; HASH is the secret's SHA-256 in hexadecimal digits. That
is enough, since a secret is 32 random bytes, and not a word that could be guessed.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from restms_node.credential_lines import fields_of, read_groups, read_name
from restms_node.watched_file import LineError

SECRET_BYTES = 32

_PREFIX = re.compile(r"[A-Za-z0-9_-]{4,32}", re.ASCII)
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """A key: whose it is, and until when, in seconds since the epoch."""

    hash: str = field(repr=False)
    name: str
    groups: frozenset[str]
    expires: float | None


def read(data: bytes) -> Mapping[str, Key]:
    """Return the file's keys by their prefixes. Raises LineError."""
    keys: dict[str, Key] = {}
    for number, line in fields_of(data):
        prefix, hashed, name, groups, expires = (*line.split(":", 4), "", "", "", "")[:5]
        if _PREFIX.fullmatch(prefix) is None:
            raise LineError("A line begins with a key's prefix: 4 to 32 letters or digits.", number)
        if _HASH.fullmatch(hashed) is None:
            raise LineError("What follows the prefix is no SHA-256 in hexadecimal digits.", number)
        if prefix in keys:
            raise LineError(f'The prefix "{prefix}" is there twice.', number)
        try:
            until = read_time(expires).timestamp() if expires else None
        except ValueError as error:
            raise LineError(str(error), number) from None
        keys[prefix] = Key(hashed, read_name(name, number), read_groups(groups, number), until)
    return keys


def new_key() -> tuple[str, str]:
    """Return the prefix and the secret of a new key."""
    return f"rk{secrets.token_hex(4)}", secrets.token_urlsafe(SECRET_BYTES)


def line_of(prefix: str, secret: str, name: str, groups: str, expires: str) -> str:
    """Return a key's line."""
    return f"{prefix}:{hash_of(secret)}:{name}:{groups}:{expires}".rstrip(":")


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def split(key: str) -> tuple[str, str] | None:
    """Return a key's prefix and secret; None where it is not written as keys are."""
    prefix, dot, secret = key.partition(".")
    if not dot or _PREFIX.fullmatch(prefix) is None or _SECRET.fullmatch(secret) is None:
        return None
    return prefix, secret


def read_time(text: str) -> datetime:
    """Read a time (RFC 3339), or a day, which begins in UTC. Raises ValueError with a sentence."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is no time such as 2027-01-31T00:00:00Z.') from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def written_time(time: datetime) -> str:
    """Return a time as it stands in the file, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
