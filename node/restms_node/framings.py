"""How messages follow each other in an endless body: one framing for each type of stream.

Another one is a function and a line in FRAMINGS.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from restms_cluster.inbox import Delivered
from restms_node import documents_json
from restms_node.deliveries import Deliveries
from restms_node.representations import Representation

RETRY_MILLISECONDS = 1000
LINE = b"\r\n"


@dataclass(frozen=True, slots=True)
class Framing:
    """A type of stream: what is sent first, for each message, when there is none, and last."""

    content_type: str
    start: bytes
    frame: Callable[[Delivered], bytes]
    beat: bytes
    end: bytes


Framer: TypeAlias = Callable[[Deliveries, Representation], Framing]
"""Makes the framing of one stream; the representation is what the client likes documents in."""


def server_sent_events(deliveries: Deliveries, _: Representation) -> Framing:
    """Return the framing of an EventSource (HTML, section 9.2): documents in JSON.

    JSON has no line break within it, so one `data` line has a whole document.
    """

    def frame(one: Delivered) -> bytes:
        data = documents_json.write(deliveries.tree(one))
        return b"id: %b\ndata: %b\n\n" % (deliveries.href(one).encode(), data)

    return Framing(
        content_type="text/event-stream",
        start=b"retry: %d\n\n" % RETRY_MILLISECONDS,
        frame=frame,
        beat=b":\n\n",
        end=b"",
    )


def multipart_mixed(deliveries: Deliveries, representation: Representation) -> Framing:
    """Return the framing of a multipart body (RFC 2046 5.1): a document in each part.

    The delimiter after a part is sent with it, for it is what ends the part. A part
    without a Content-Location is a heartbeat.
    """
    boundary = secrets.token_hex(16)
    delimiter = b"%b--%b" % (LINE, boundary.encode())

    def part(body: bytes, *headers: str) -> bytes:
        lines = "".join(f"{header}\r\n" for header in headers).encode()
        return b"%b%bContent-Length: %d%b%b%b%b" % (
            *(LINE, lines, len(body), LINE, LINE, body, delimiter),
        )

    def frame(one: Delivered) -> bytes:
        return part(
            deliveries.document(representation, [one]),
            f"Content-Type: {representation.media_type}",
            f"Content-Location: {deliveries.href(one)}",
        )

    return Framing(
        content_type=f'multipart/mixed; boundary="{boundary}"',
        # With a heartbeat, for a body has one part at least.
        start=delimiter.removeprefix(LINE) + part(b""),
        frame=frame,
        beat=part(b""),
        end=b"--" + LINE,
    )


def cbor_sequence(deliveries: Deliveries, _: Representation) -> Framing:
    """Return the framing of a CBOR sequence (RFC 8742): one map for each message.

    A null is a heartbeat.
    """
    return Framing(
        content_type="application/cbor-seq",
        start=b"",
        frame=deliveries.item,
        beat=b"\xf6",
        end=b"",
    )


FRAMINGS: Mapping[str, Framer] = {
    "text/event-stream": server_sent_events,
    "multipart/mixed": multipart_mixed,
    "application/cbor-seq": cbor_sequence,
}
"""By media type, in the order of preference."""
