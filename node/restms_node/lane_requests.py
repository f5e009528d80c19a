"""What the lane serves: the few kinds of requests that carry nearly all messages.

A head is read strictly, for a proxy in front must not see another request in
it than we do. It is the lane's only if nothing about it is unusual: else
Hypercorn reads it, which knows all of HTTP. What is not HTTP at all, in a
request that would be the lane's, is refused here.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from restms_cluster.errors import BadRequestError, NotFoundError, UnsupportedTypeError
from restms_node import resources_feed, resources_message, resources_pipe
from restms_node.access import AUTHORIZATION, more_than_once
from restms_node.config import Settings
from restms_node.front import is_authority
from restms_node.hosts import Hosts
from restms_node.negotiation import content_representation
from restms_node.routes import Handler, route
from restms_node.uris import Target, Uris

HEAD_BYTES = 16 * 1024
END = b"\r\n\r\n"

SERVED: Mapping[tuple[str, str, str], Handler] = {
    ("POST", "feed", ""): resources_feed.post,
    ("GET", "message", ""): resources_message.describe,
    ("DELETE", "message", ""): resources_message.acknowledge,
    ("GET", "pipe", "messages"): resources_pipe.describe,
}
"""By method, noun, and the name of the query's one parameter."""

_BEGINNINGS = tuple(f"{method} /".encode() for method in {method for method, _, _ in SERVED})
_PATH = rb"/restms/(?:feed|resource)/[A-Za-z0-9._~/-]+"  # no more than our own URIs have
_QUERY = rb"[A-Za-z0-9._~=&-]+"
_ELSEWHERE = frozenset(
    (
        *("transfer-encoding", "expect", "upgrade", "te", "trailer", "http2-settings"),
        *("content-encoding", "origin", "sec-fetch-site", "access-control-request-method"),
        "range",
    )
)
"""Headers whose meaning only the whole server knows."""

_ANY_LINE = b"GET / HTTP/1.1\r\n"  # what the parser wants before the headers
_KEPT_BYTES = 1024
_KEPT_HEADS = 256


@dataclass(frozen=True, slots=True)
class Head:
    """A request of the lane, but for its body of `length` bytes.

    `close` tells that the client wants no further answer on its connection; `noun` is what kind
    of resource it is about.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    length: int
    close: bool
    target: Target
    noun: str
    handler: Handler


class Heads:
    """Reads the heads of requests to a node with these settings.

    Of the headers in `once` a request must not have more than one line.
    """

    def __init__(self, settings: Settings, once: Collection[str] = (AUTHORIZATION,)) -> None:
        prefix = urlsplit(settings.base_url).path
        self._uris = Uris(settings.base_url)
        self._most = settings.limits.document_bytes
        self._line = re.compile(
            rb"(GET|POST|DELETE) ((?:%s)?%s)(?:\?(%s))? HTTP/1\.1\r\n"
            % (re.escape(prefix.encode()), _PATH, _QUERY)
        )
        # Who publishes sends the same head again and again; who reads, the same but its first line.
        self._kept = lru_cache(maxsize=_KEPT_HEADS)(self._read)
        self._headers = partial(_headers, once=once, hosts=Hosts(settings))
        self._kept_headers = lru_cache(maxsize=_KEPT_HEADS)(self._headers)

    def may_begin(self, data: bytes) -> bool:
        """Tell whether the head that begins so can become one of the lane's.

        Raises BadRequestError where it can become none at all.
        """
        if b"\n" not in data:
            return any(data.startswith(known[: len(data)]) for known in _BEGINNINGS)
        if self._line.match(data) is None:
            return False
        if data.count(b"\n") != data.count(b"\r\n"):
            raise _not_http()
        return True

    def read(self, data: bytes) -> Head | None:
        """Return what a whole head says; None where the request is not for the lane.

        Raises BadRequestError for what is no head of HTTP/1.1.
        """
        if len(data) <= _KEPT_BYTES and data[:1] == b"P":
            return self._kept(data)
        return self._read(data)

    def _read(self, data: bytes) -> Head | None:
        line = self._line.match(data)
        if line is None or len(data) > HEAD_BYTES:
            return None
        method, path, query = line[1].decode(), line[2].decode(), (line[3] or b"").decode()
        lines = data[line.end() :]
        read = self._headers if len(lines) > _KEPT_BYTES else self._kept_headers
        headers = read(lines)
        if headers is None or not _ELSEWHERE.isdisjoint(headers):
            return None
        connection = headers.get("connection", "keep-alive").lower()
        length = int(headers.get("content-length", "0"))
        target = self._target(path)
        if target is None:
            return None
        noun = route(target)
        handler = SERVED.get((method, noun, query.partition("=")[0]))
        if handler is None or connection not in ("keep-alive", "close"):
            return None
        if length and method != "POST":
            return None
        if method == "POST" and not self._is_document(headers, length):
            return None
        close = connection == "close"
        return Head(method, path, query, headers, length, close, target, noun, handler)

    def _target(self, path: str) -> Target | None:
        try:
            return self._uris.target(path)
        except NotFoundError:
            return None

    def _is_document(self, headers: Mapping[str, str], length: int) -> bool:
        try:
            document = content_representation(headers.get("content-type"))
        except UnsupportedTypeError:
            return False
        return document is not None and "content-length" in headers and length <= self._most


class _Lines:
    """The header lines that llhttp finds."""

    __slots__ = ("doubled", "found", "hosts", "once")

    def __init__(self, once: Collection[str]) -> None:
        self.once = once
        self.doubled = ""
        self.found: dict[str, str] = {}
        self.hosts = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a line; those of one name are joined by commas (RFC 9110 5.3)."""
        key, text = name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")
        if key == "host":
            self.hosts += 1
        if key not in self.found:
            self.found[key] = text
        elif key in self.once:
            self.doubled = key
        else:
            self.found[key] += f", {text}"


def _check_websocket(headers: Mapping[str, str]) -> None:
    """Refuse a WebSocket that cannot be opened (RFC 6455 4.2.1); Hypercorn would not let it go."""
    if headers.get("upgrade", "").lower() != "websocket":
        return
    if headers.get("sec-websocket-version") != "13" or not headers.get("sec-websocket-key"):
        raise BadRequestError(
            "A WebSocket is opened with a Sec-WebSocket-Key and Sec-WebSocket-Version: 13."
        )


def _headers(data: bytes, once: Collection[str], hosts: Hosts) -> Mapping[str, str] | None:
    """Return the headers that these lines hold; None where it is not for the lane to answer.

    llhttp refuses what could be read in two ways: bare CR or LF, folded lines,
    blanks before a colon, control characters, and lengths that are doubled,
    signed, or beside a Transfer-Encoding.
    """
    lines = _Lines(once)
    try:
        HttpRequestParser(lines).feed_data(_ANY_LINE + data)
    except HttpParserUpgrade:
        _check_websocket(lines.found)
        return None
    except HttpParserError:
        raise _not_http() from None
    if lines.doubled:
        raise more_than_once(lines.doubled)
    host = lines.found.get("host")
    if host == "" and lines.hosts == 1:
        return None  # which HTTP allows
    if host is None or lines.hosts > 1 or not is_authority(host):
        raise BadRequestError("The request does not have exactly one Host, a name and port.")
    return lines.found if hosts.knows(host) else None


def checked(data: bytes, *, with_host: bool) -> Mapping[str, str]:
    """Return the headers of any request, read as the lane reads them; BadRequestError as there.

    HTTP/1.0 needs no Host; a Host that is there must be one all the same.
    """
    lines = _Lines(())
    try:
        HttpRequestParser(lines).feed_data(_ANY_LINE + data)
    except HttpParserUpgrade:
        _check_websocket(lines.found)
    except HttpParserError:
        raise _not_http() from None
    host = lines.found.get("host")
    missing = host is None and with_host
    if missing or lines.hosts > 1 or (host and not is_authority(host)):
        raise BadRequestError("The request does not have exactly one Host, a name and port.")
    return lines.found


def _not_http() -> BadRequestError:
    return BadRequestError("The request is not well-formed HTTP/1.1.")
