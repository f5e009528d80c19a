"""The bytes of an answer: as Hypercorn writes it, in one piece."""

import time

from restms_node.conditions import date_of
from restms_node.exchange import Answer
from restms_node.front import ALWAYS, NO_BODY

_ALWAYS = "".join(f"{name.lower()}: {value}\r\n" for name, value in ALWAYS)


def written(answer: Answer, *, close: bool) -> bytes:
    """Return an answer as it goes over the connection; `close` tells that it is the last."""
    lines = "".join([f"{name.lower()}: {value}\r\n" for name, value in answer.headers])
    length = "" if answer.status in NO_BODY else f"content-length: {len(answer.body)}\r\n"
    last = "connection: close\r\n" if close else ""
    head = (
        f"HTTP/1.1 {answer.status} \r\n{lines}{_ALWAYS}{length}"
        f"date: {date_of(int(time.time()))}\r\n{last}\r\n"
    )
    return head.encode() + answer.body
