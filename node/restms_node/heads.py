"""Heads of requests, read once more and strictly before h11 reads them.

h11 takes some heads that a proxy could read in another way: bare LF, folded
lines, a length beside a Transfer-Encoding. llhttp, which reads for the lane,
takes none of them, so both fronts refuse alike.
"""

import re
from typing import Any
from urllib.parse import urlsplit

import h11

from restms_cluster.errors import BadRequestError
from restms_node.lane_requests import END, checked

_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\0")
_LINE = re.compile(rb"[A-Z-]{1,32} [\x21-\x7e]+ HTTP/1\.[01]\r\n")


class Connection(h11.Connection):
    """h11's connection; what is refused here is a RemoteProtocolError like its own."""

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Have Hypercorn not answer 100 by itself: the application may refuse the body."""
        return False

    def next_event(self) -> Any:
        """Return the next event; RemoteProtocolError for a head that is not plain HTTP/1."""
        if self.their_state is h11.IDLE:
            data, _ = self.trailing_data
            end = data.find(END)
            if end >= 0:
                _check(data[: end + len(END)])
            elif _BARE.search(data):  # h11 might take it for the end
                raise _refused("a bare line end or NUL")
        return super().next_event()


def _check(head: bytes) -> None:
    line = _LINE.match(head)
    if line is None:
        raise _refused("the request line")
    method, target, version = line[0].split()
    if method == b"CONNECT":
        raise _refused("CONNECT")
    try:
        headers = checked(head[line.end() :], with_host=version == b"HTTP/1.1")
    except BadRequestError as error:
        raise _refused(error.text) from None
    upgrade = headers.get("upgrade", "").lower() == "websocket"
    if version == b"HTTP/1.0" and ("transfer-encoding" in headers or upgrade):
        raise _refused("what HTTP/1.0 does not have")
    if not target.startswith((b"/", b"*")):
        try:
            parts = urlsplit(target.decode())
        except ValueError:
            raise _refused("the target") from None
        if parts.scheme not in ("http", "https") or parts.netloc != headers.get("host"):
            raise _refused("a target that is not the Host's")
        if not parts.path:  # Quart fails where there is none
            raise _refused("a target without a path")


def _refused(why: str) -> h11.RemoteProtocolError:
    return h11.RemoteProtocolError(why, error_status_hint=400)
