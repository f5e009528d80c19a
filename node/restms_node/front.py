"""What every front of a node needs: the public base URI, and paths fit for a log."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from restms_cluster.errors import BadRequestError
from restms_node.clients import is_proxy
from restms_node.config import Settings

ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),  # the address of a page may be a capability
)
"""The headers that every answer has."""

NO_BODY = (204, 304)

_AUTHORITY = re.compile(
    # A name's labels are as DNS has them (RFC 1035 2.3.4): libraries fail over longer ones.
    r"(?:(?=[^:]{1,253}(?::|$))[A-Za-z0-9_~-]{1,63}(?:\.[A-Za-z0-9_~-]{1,63})*\.?"
    r"|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?",
    re.ASCII,
)
_HTTP = {"ws": "http", "wss": "https"}  # the resources of a WebSocket have URIs of HTTP
_DIGIT = r"(?:[0-9a-f]|%3[0-9]|%[46][1-6])"  # or what stands for one in a URI
_SECRET = re.compile(rf"({_DIGIT}{{4}}){_DIGIT}{{12,}}", re.IGNORECASE)  # or most of one


def base_uri(settings: Settings, scope: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return scheme and authority of the URIs in an answer.

    The configured base URL; else the request's own Host, or where a trusted
    proxy sent it, what that says the client asked for. HTTP/1.0 has no Host:
    then the address that the request came to. Raises BadRequestError for a
    Host that is none, since it would stand in every URI of the answer.
    """
    if settings.base_url:
        return settings.base_url
    scheme, authority = str(scope["scheme"]), headers.get("host", "")
    scheme = _HTTP.get(scheme, scheme)
    if _trusted(settings, scope):
        # A chain of proxies adds to the left; ours wrote the last word.
        forwarded = _last(headers.get("x-forwarded-proto"))
        scheme = _HTTP.get(forwarded, forwarded) or scheme
        authority = _last(headers.get("x-forwarded-host")) or authority
    if scheme not in ("http", "https"):
        raise BadRequestError("The forwarded protocol is neither http nor https.")
    if not authority:
        host, port = scope["server"] or ("localhost", None)
        host = f"[{host}]" if ":" in host else host
        authority = f"{host}:{port}" if port else host
    return _base(scheme, authority)


@lru_cache(maxsize=128)
def _base(scheme: str, authority: str) -> str:
    if not is_authority(authority):
        raise BadRequestError("The Host header is not a host name and port.")
    return f"{scheme}://{authority}"


def is_authority(text: str) -> bool:
    """Tell whether a text is a host, perhaps with a port."""
    return _AUTHORITY.fullmatch(text) is not None


def shortened(path: str) -> str:
    """Return a path in which private resources cannot be used any more."""
    return _SECRET.sub(r"\1…", path)


def _trusted(settings: Settings, scope: Mapping[str, Any]) -> bool:
    if not settings.trusted_proxies or not scope.get("client"):
        return False
    return is_proxy(settings.trusted_proxies, scope["client"][0])


def _last(values: str | None) -> str:
    return values.rpartition(",")[2].strip() if values else ""
