"""Authenticators, as the configuration file names them.

    [[authenticator]]
    type = "jwt"
    issuer = "https://id.example/"
    audience = ["restms"]
    keys = "https://id.example/jwks.json"

Paths are relative to the file's folder. Faults name the entry and tell where it is.
"""

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from restms_node.config_file import ConfigFile
from restms_node.principals import NAME_LENGTH, is_principal_name
from restms_node.tables import Table, listed

AUTHENTICATOR = "authenticator"
BASIC, KEYS, JWT, CERTIFICATE = "basic", "keys", "jwt", "certificate"
TYPES = (BASIC, KEYS, JWT, CERTIFICATE)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Of RFC 7518, those with a public key: with a shared one, whoever checks could also sign."""

EDDSA = "EdDSA"  # RFC 8037
USUAL_ALGORITHMS = ("RS256", "ES256")

USUAL_LEEWAY, MOST_LEEWAY = 30.0, 300.0

RFC9440, SUBJECT = "rfc9440", "subject"
FORMS = (RFC9440, SUBJECT)

_HEADER = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
_TAKEN = ("authorization", "host", "cookie", "content-type", "content-length", "connection")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one issuer (RFC 7519): `keys` is the URL of its keys, or the path of a file."""

    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    keys: str | Path
    name: str
    groups: str
    prefix: str
    leeway: float


@dataclass(frozen=True, slots=True)
class Certificates:
    """The clients' certificates, of which proxies tell in a header (its name in lower case)."""

    header: str
    form: str
    prefix: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Authenticators:
    """All that are configured; `basic` and `keys` are paths of files."""

    basic: Path | None = None
    keys: Path | None = None
    tokens: tuple[Tokens, ...] = ()
    certificates: Certificates | None = None

    def __bool__(self) -> bool:
        return self != Authenticators()


def read_authenticators(file: ConfigFile, *, proxies: bool) -> Authenticators:
    """Read the file's key `authenticator`. Raises FaultError with one sentence.

    `proxies` tells whether there are trusted ones.
    """
    found = Authenticators()
    for table in listed(file.values.get(AUTHENTICATOR, []), AUTHENTICATOR, (AUTHENTICATOR,)):
        kind = table.text("type")
        if kind not in TYPES:
            names = ", ".join(TYPES)
            raise table.fault(f"The type of an authenticator is one of {names}.", "type")
        named = replace(table, what=f'authenticator "{kind}"')
        if kind == JWT:
            tokens = _tokens(named, file)
            if any(tokens.issuer == other.issuer for other in found.tokens):
                raise named.fault("There is an authenticator for this issuer already.", "issuer")
            found = replace(found, tokens=(*found.tokens, tokens))
        elif (kind == CERTIFICATE and found.certificates) or getattr(found, kind, None):
            raise named.fault(f"There is an {named.what} already.")
        elif kind == CERTIFICATE:
            found = replace(found, certificates=_certificates(named, proxies=proxies))
        else:
            named.check_keys(("type", "file"))
            path = _path(named, "file", file)
            found = replace(found, basic=path) if kind == BASIC else replace(found, keys=path)
    return found


def is_fetched(keys: str) -> bool:
    """Tell whether keys are named by a URL."""
    return keys.startswith(("https://", "http://"))


def _tokens(table: Table, file: ConfigFile) -> Tokens:
    table.check_keys(
        ("type", "issuer", "audience", "algorithms", "keys", "name", "groups", "prefix", "leeway")
    )
    for key in ("issuer", "name"):
        if not table.text(key, "sub"):
            raise table.fault(f"The {key} of the {table.what} must not be empty.", key)
    if "issuer" not in table.values:
        raise table.fault(f"The {table.what} needs an issuer.")
    audience = table.texts("audience")
    if not audience or not all(audience):
        raise table.fault(f"The {table.what} needs an audience, a list of texts.", "audience")
    algorithms = table.texts("algorithms", USUAL_ALGORITHMS)
    known = (*ALGORITHMS, EDDSA)
    if not algorithms or not set(algorithms) <= set(known):
        names = ", ".join(known)
        raise table.fault(f"The algorithms of the {table.what} are some of {names}.", "algorithms")
    leeway = table.number("leeway", USUAL_LEEWAY)
    if not 0 <= leeway <= MOST_LEEWAY:
        text = f"The leeway of the {table.what} is from 0 to {MOST_LEEWAY:g} seconds."
        raise table.fault(text, "leeway")
    keys: str | Path = table.text("keys")
    if is_fetched(str(keys)):
        _check_url(table, str(keys))
    else:
        keys = _path(table, "keys", file)
    return Tokens(
        issuer=table.text("issuer"),
        audience=audience,
        algorithms=algorithms,
        keys=keys,
        name=table.text("name", "sub"),
        groups=table.text("groups", "groups"),
        prefix=_prefix(table),
        leeway=leeway,
    )


def _certificates(table: Table, *, proxies: bool) -> Certificates:
    table.check_keys(("type", "header", "form", "prefix", "groups"))
    if not proxies:
        raise table.fault(
            f"The {table.what} needs trusted_proxies: nobody else may say whose certificate it is."
        )
    header = table.text("header", "Client-Cert").lower()
    if _HEADER.fullmatch(header) is None or header in _TAKEN:
        raise table.fault(f"The header of the {table.what} is not a name for it.", "header")
    form = table.text("form", RFC9440 if header == "client-cert" else SUBJECT)
    if form not in FORMS:
        raise table.fault(f"The form of the {table.what} is {' or '.join(FORMS)}.", "form")
    groups = table.texts("groups")
    if not all(map(is_principal_name, groups)):
        text = f"The groups of the {table.what} are names of up to {NAME_LENGTH} characters."
        raise table.fault(text, "groups")
    return Certificates(header, form, _prefix(table), frozenset(groups))


def _prefix(table: Table) -> str:
    prefix = table.text("prefix")
    if prefix and not is_principal_name(prefix + "x"):
        raise table.fault(f"The prefix of the {table.what} cannot begin a name.", "prefix")
    return prefix


def _path(table: Table, key: str, file: ConfigFile) -> Path:
    text = table.text(key)
    try:
        if text and text.isprintable():
            return file.beside(text)
    except RuntimeError:  # ~ of somebody unknown
        pass
    raise table.fault(f"The {table.what} needs the path of a file as {key}.", key)


def _check_url(table: Table, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0 or "@" in url or not url.isascii() or not url.isprintable():
        raise table.fault(f"The keys of the {table.what} are at no URL.", "keys")
    if url.startswith("http://") and not _is_loopback(host):
        text = f"The keys of the {table.what} are fetched by https, or from this machine."
        raise table.fault(text, "keys")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
