"""What is said over a WebSocket on a pipe: frames of JSON, or of CBOR, each one object.

    server   {"message": {"href": …, "address": …, …}}    a message, as in a document
             {"error": {"status": …, "word": …, "text": …}}
             {}                                           a heartbeat
    client   {"acknowledge": "the href of a message"}     it and all older ones
             {}                                           a heartbeat

Another one is an instance and a line in SUBPROTOCOLS.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from restms_cluster.errors import BadRequestError, RestMSError
from restms_cluster.inbox import Delivered
from restms_node import documents_cbor, documents_json
from restms_node.deliveries import Deliveries

FRAME_BYTES = 16 * 1024  # of what a client sends, which is one URI

ACKNOWLEDGE = "acknowledge"


@dataclass(frozen=True, slots=True)
class Subprotocol:
    """How objects travel: as text or as bytes."""

    name: str
    frames: type[str] | type[bytes]
    encode: Callable[[object], bytes]
    decode: Callable[[bytes], object]
    item: Callable[[Deliveries, Delivered], bytes]
    before: bytes
    after: bytes

    def message(self, deliveries: Deliveries, one: Delivered) -> str | bytes:
        """Return the frame of a message."""
        return self._frame(self.before + self.item(deliveries, one) + self.after)

    def error(self, error: RestMSError) -> str | bytes:
        """Return the frame that tells of an error."""
        told = {"status": error.status, "word": error.word, "text": error.text}
        return self._frame(self.encode({"error": told}))

    def beat(self) -> str | bytes:
        """Return the frame of a heartbeat."""
        return self._frame(self.encode({}))

    def acknowledged(self, frame: str | bytes) -> str | None:
        """Return the href that a client's frame acknowledges; None of a heartbeat.

        Raises BadRequestError where it is not one of the two.
        """
        command = self.decode(frame.encode() if isinstance(frame, str) else frame)
        if command == {}:
            return None
        if isinstance(command, dict) and [*command] == [ACKNOWLEDGE]:
            href = command[ACKNOWLEDGE]
            if isinstance(href, str):
                return href
        raise BadRequestError(f'A frame is an object with "{ACKNOWLEDGE}" and an href.')

    def _frame(self, data: bytes) -> str | bytes:
        return data.decode() if self.frames is str else data


def _json(deliveries: Deliveries, one: Delivered) -> bytes:
    return documents_json.write_message(deliveries.element(one))


SUBPROTOCOLS = (
    Subprotocol(
        name="restms",
        frames=str,
        encode=documents_json.encode,
        decode=documents_json.decode,
        item=_json,
        before=b'{"message":',
        after=b"}",
    ),
    Subprotocol(
        name="restms.cbor",
        frames=bytes,
        encode=documents_cbor.encode,
        decode=documents_cbor.decode,
        item=Deliveries.item,
        before=b"\xa1\x67message",
        after=b"",
    ),
)


def choose(offered: Sequence[str]) -> Subprotocol:
    """Return the first of the client's subprotocols that is known; BadRequestError without any."""
    known = {subprotocol.name: subprotocol for subprotocol in SUBPROTOCOLS}
    for name in offered:
        if name in known:
            return known[name]
    raise BadRequestError(f"A WebSocket here has the subprotocol {' or '.join(known)}.")
