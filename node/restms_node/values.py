"""Kinds of option values: how each is written, and what makes one a sane value.

Flags and environment variables are text. A TOML file has types of its own: its
values must be of the types that the kind accepts, and are then read as the
same text would be, so that every option means the same wherever it is given.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from restms_cluster.rates import MICROSECONDS, Rate

T = TypeVar("T")

LONGEST_SECONDS = 10 * 366 * 86_400.0
LARGEST = 10**12
"""Far beyond what any server has, far below where a double loses whole numbers (Lua)."""

_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"([0-9][0-9_]*)\s*(?:([kmg])(?:ib)?)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[0-9][0-9_]*", re.ASCII)
_RATE = re.compile(r"([0-9][0-9_]*)/([0-9]{0,4})([smh])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600}
LONGEST_WINDOW = 3600
MOST_SHARES = 1 << 52
"""Of a rate: its quota times its microseconds, which Lua counts as whole numbers."""
_BIND = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", re.ASCII)
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII
)
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_BASE_URL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/\[\]-]+", re.ASCII)

OFF = "off"
_SWITCHED = {"on": True, "true": True, "off": False, "false": False}

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How values of an option are written.

    `metavar` is what --help shows; `expected` completes "must be …"; `toml`
    are the types a TOML value may have; `read` turns text into a value, and
    raises ValueError where the text is not one.
    """

    metavar: str
    expected: str
    toml: tuple[type, ...]
    read: Callable[[str], T]

    def from_toml(self, value: object) -> T:
        """Read a value of a TOML file. Raises ValueError."""
        if type(value) not in self.toml:  # exactly: a boolean is no number here
            raise ValueError(value)
        if isinstance(value, list):
            if not all(isinstance(item, str) and "," not in item for item in value):
                raise ValueError(value)
            return self.read(",".join(value))
        return self.read(str(value))


def whole(least: int = 1) -> Kind[int]:
    """Return the kind of whole numbers from `least` on."""

    def read(text: str) -> int:
        if _WHOLE.fullmatch(text) is None:
            raise ValueError(text)
        return _between(least, int(text), LARGEST)

    return Kind("N", f"a whole number from {least} to {LARGEST}", (int,), read)


def seconds(least: float = 0.01) -> Kind[float]:
    """Return the kind of times in seconds, from `least` on."""

    def read(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError(text)
        return _between(least, number, LONGEST_SECONDS)

    expected = f"a number of seconds from {least:g} to {LONGEST_SECONDS:.0f}"
    return Kind("SECONDS", expected, (int, float), read)


def choice(*words: str) -> Kind[str]:
    """Return the kind of one of these words."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return text.lower()

    return Kind("|".join(words), f"one of {', '.join(words)}", (str,), read)


def _switch(text: str) -> bool:
    word = text.lower()
    if word not in _SWITCHED:
        raise ValueError(text)
    return _SWITCHED[word]


def words(*known: str) -> Kind[tuple[str, ...]]:
    """Return the kind of any of these words, each once, in any order."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(item.lower() for item in _listed(text))
        if len(set(found)) < len(found) or not set(found) <= set(known):
            raise ValueError(text)
        return found

    expected = f"a list of words of {', '.join(known)}, or empty"
    return Kind("WORD,...", expected, (list,), read)


def _between(least: T, value: T, most: T) -> T:
    if not least <= value <= most:  # type: ignore[operator]
        raise ValueError(value)
    return value


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return _between(1, int(found[1]) * _FACTORS[(found[2] or "").lower()], LARGEST)


def _quota(text: str) -> int:
    return 0 if text in ("off", "0") else _size(text)


def _rate(text: str) -> Rate | None:
    if text.lower() == "off":
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    window = _between(1, int(found[2] or 1) * _UNITS[found[3]], LONGEST_WINDOW)
    return Rate(_between(1, int(found[1]), MOST_SHARES // (window * MICROSECONDS)), window)


def host_and_port(text: str) -> tuple[str, int]:
    """Split HOST:PORT or [IPV6]:PORT. Raises ValueError where it is neither."""
    found = _BIND.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return found[1] or found[2], _between(0, int(found[3]), 65_535)


def _bind(text: str) -> str:
    host_and_port(text)
    return text


def _bind_or_off(text: str) -> str:
    return text if text in ("", OFF) else _bind(text)


def _path(text: str) -> Path:
    if not text or not text.isprintable():
        raise ValueError(text)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~ of somebody unknown
        raise ValueError(text) from error


def _file(text: str) -> Path | None:
    return _path(text) if text else None


def _base_url(text: str) -> str:
    if not text:
        return ""
    parts = urlsplit(text)  # .port raises ValueError by itself
    good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    if not good or "@" in parts.netloc or _BASE_URL.fullmatch(text) is None:
        raise ValueError(text)
    return text.rstrip("/")


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _modules(text: str) -> tuple[str, ...]:
    modules = tuple(_listed(text))
    if not all(_MODULE.fullmatch(module) for module in modules):
        raise ValueError(text)
    return modules


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(item) for item in _listed(text))


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(item.lower().rstrip(".") for item in _listed(text))
    if not all(item == "*" or _HOST.fullmatch(item) for item in hosts):
        raise ValueError(text)
    return hosts


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(item.lower() for item in _listed(text))
    if not all(item == "*" or _ORIGIN.fullmatch(item) for item in origins):
        raise ValueError(text)
    return origins


MODULES: Kind[tuple[str, ...]] = Kind(
    "MODULE,...", "names of Python modules, such as my_package.profile_mine", (list,), _modules
)
URL: Kind[str] = Kind("URL", "a URL", (str,), str)  # whoever connects knows what a good one is
SIZE: Kind[int] = Kind(
    "SIZE", f"a size in bytes from 1 to {LARGEST}, such as 4096, 64KiB or 8MiB", (int, str), _size
)
QUOTA: Kind[int] = Kind(
    "SIZE",
    f"off, or a size in bytes from 1 to {LARGEST}, such as 512MiB or 8GiB",
    (int, str),
    _quota,
)
RATE: Kind[Rate | None] = Kind(
    "N/TIME",
    "off, or so many in a time of up to an hour, such as 100/s, 500/5s or 20/m",
    (str,),
    _rate,
)
SWITCH: Kind[bool] = Kind("on|off", "on or off", (bool, str), _switch)
BIND: Kind[str] = Kind("HOST:PORT", "HOST:PORT, with an IPv6 address in [ ]", (str,), _bind)
BIND_OR_OFF: Kind[str] = Kind(
    "HOST:PORT|off", "HOST:PORT, with an IPv6 address in [ ], or off", (str,), _bind_or_off
)
PATH: Kind[Path] = Kind("DIR", "a path", (str,), _path)
FILE: Kind[Path | None] = Kind("FILE", "the path of a file", (str,), _file)
BASE_URL: Kind[str] = Kind(
    "URL", "an absolute http:// or https:// URL without user, query or fragment", (str,), _base_url
)
NETWORKS: Kind[tuple[Network, ...]] = Kind(
    "NETWORK,...",
    "IP networks such as 10.0.0.0/8 (no bits set after the prefix)",
    (list,),
    _networks,
)
HOSTS: Kind[tuple[str, ...]] = Kind(
    "HOST,...", "host names such as broker.example, without ports, or *", (list,), _hosts
)
ORIGINS: Kind[tuple[str, ...]] = Kind(
    "ORIGIN,...", "origins such as https://example.org (no path), or *", (list,), _origins
)
