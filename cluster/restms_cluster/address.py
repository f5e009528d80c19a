"""Where Redis is, as a URL says it.

redis-py reads the URL. What it tolerates in silence (a path that is no
number, an option it does not know) is refused here, because a server that
starts with half of its configuration ignored is worse than one that does not
start. No sentence made here shows the URL, for it may hold a password.
"""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self
from urllib.parse import parse_qsl, urlsplit

from redis.connection import parse_url

from restms_cluster.errors import StartError

_HOST = re.compile(r"(?=.{1,253}$)[\w:%-]{1,63}(\.[\w:%-]{1,63})*\.?")
_DATABASE = re.compile(r"/?([0-9]{1,9})?")
_TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_OPTIONS = ("db", "username", "password", *_TLS_OPTIONS)
_VERIFY = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class Tls:
    """How to check the server, and what to show it: paths of files, None for the defaults."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: ssl.VerifyMode = ssl.CERT_REQUIRED
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises OSError or ValueError if they cannot be used."""
        context = ssl.create_default_context(cafile=self.ca_certs)
        context.check_hostname = self.check_hostname and self.verify is not ssl.CERT_NONE
        context.verify_mode = self.verify
        if self.certfile is not None:
            context.load_cert_chain(self.certfile, self.keyfile)
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """One Redis server and database, and what it takes to be let in.

    `path` is a Unix socket; without it, `host` and `port` are meant. A server that
    must be a `primary` is asked whether it is one at every connect.
    `str()` of an address is safe to log: it has no user name and no password.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    primary: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a redis://, rediss:// or unix:// URL; StartError if it is not a good one."""
        if not url.isprintable() or " " in url:
            refuse("has a space or an unprintable character; write it as %20 and the like")
        if not url.startswith(("redis://", "rediss://", "unix://")):
            refuse(
                "must start with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
            )
        if "#" in url:
            refuse("has a '#'; in a password, write it as %23")
        _check_options(url)
        db = _check_parts(url)
        try:
            found = parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError:
            refuse("has a bad db or ssl_check_hostname")
        if not 0 <= found.get("db", db) <= 2**31 - 1:
            refuse("has a db that is no number from 0 on")
        path = found.get("path")
        if path is not None and "\0" in path:
            refuse("has a socket path that no file can have")
        return cls(
            host=found.get("host", "localhost"),
            port=found.get("port", 6379),
            path=path,
            db=found.get("db", db),
            username=found.get("username"),
            password=found.get("password"),
            tls=_tls(found) if url.startswith("rediss://") else None,
        )

    def __str__(self) -> str:
        """Return the URL without the user name, the password and the options."""
        if self.path is not None:
            return f"unix://{self.path}?db={self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"


def refuse(fault: str) -> NoReturn:
    """Raise the StartError that says what is wrong with a URL, without showing it."""
    # Never "from" the parser's own error: it quotes the URL.
    raise StartError(f"The Redis URL {fault}.") from None


def _check_options(url: str) -> None:
    names = set()
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True):
        if name not in _OPTIONS:
            refuse(f"has an unknown option; known are {', '.join(_OPTIONS)}")
        if name in names or not value:
            refuse(f"has the option {name} twice or without a value")
        if name in _TLS_OPTIONS and not url.startswith("rediss://"):
            refuse(f"has the option {name}, which needs rediss://")
        names.add(name)


def _check_parts(url: str) -> int:
    """Check host, port and path; return the database that the path names."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        refuse("has a bad host or port")
    if parts.scheme == "unix":
        if host or port is not None or not parts.path.startswith("/"):
            refuse("must name the socket's whole path, as in unix:///run/redis.sock")
        return 0
    if port == 0:
        refuse("has the port 0")
    if host is not None and _HOST.fullmatch(host) is None:
        refuse("has a host that cannot be one")
    database = _DATABASE.fullmatch(parts.path)
    if database is None:
        refuse("has a path that is not the number of a database, as in redis://host/0")
    return int(database[1] or 0)


def _tls(found: dict[str, Any]) -> Tls:
    verify = _VERIFY.get(found.get("ssl_cert_reqs", "required"))
    if verify is None:
        refuse("has an ssl_cert_reqs that is not none, optional or required")
    files = {name: found.get(f"ssl_{name}") for name in ("ca_certs", "certfile", "keyfile")}
    for name, path in files.items():
        if path is not None and ("\0" in path or not Path(path).is_file()):
            refuse(f"names an ssl_{name} that is no file")
    if files["keyfile"] is not None and files["certfile"] is None:
        refuse("has an ssl_keyfile without an ssl_certfile")
    return Tls(**files, verify=verify, check_hostname=found.get("ssl_check_hostname", True))
