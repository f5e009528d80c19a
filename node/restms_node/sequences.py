"""CBOR sequences (RFC 8742): items one after another, read as their bytes arrive.

Whether an item is whole is not tried again and again, which a sender of small
pieces could make quadratic: of an item whose end has not come, each byte is
looked at once (RFC 8949, appendix C).
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Final

import cbor2

from restms_cluster.errors import BadRequestError, TooLargeError
from restms_node.documents_cbor import decoder
from restms_node.negotiation import media_type
from restms_node.trees import MAX_DEPTH, ROOT, Element

CBOR_SEQ = "application/cbor-seq"

_INDEFINITE = 31
_UNBOUNDED: Final = -1  # in place of how many items a level still wants
_ARGUMENT_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}
_STRINGS, _CONTAINERS = (2, 3), (4, 5)
_TAG, _SIMPLE = 6, 7


def is_sequence(content_type: str | None) -> bool:
    """Tell whether a Content-Type is that of a sequence."""
    return content_type is not None and media_type(content_type) == CBOR_SEQ


class Messages:
    """Takes a sequence in pieces, gives the message that each item is, and its bytes.

    An item is what a message is in a document: a map. `limit` is the most bytes
    that one may have. Tags, and all that a document may not have, are refused.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._extent: Extent | None = None

    def take(self, piece: bytes) -> Iterator[tuple[Element, bytes]]:
        """Yield the messages that this piece completes.

        Raises BadRequestError, or TooLargeError, where the next one would come.
        """
        self._rest += piece
        if self._extent is not None and not self._extent.ends_in(self._rest):
            self._check_size(len(self._rest))
            return
        self._extent = None
        yield from self._decoded(bytes(self._rest))

    def end(self) -> None:
        """Take the end of the sequence; BadRequestError where it is within an item."""
        if self._rest:
            raise BadRequestError("The stream ends within a message.")

    def _decoded(self, data: bytes) -> Iterator[tuple[Element, bytes]]:
        source = BytesIO(data)
        items = decoder(source)
        start, size = 0, len(data)
        try:
            while start < size:
                item = items.decode()
                end = source.tell()
                self._check_size(end - start)
                yield _message(item), data[start:end]
                start = end
        except cbor2.CBORDecodeEOF:
            self._keep(data[start:])
        except cbor2.CBORDecodeError:
            raise _bad() from None
        else:
            self._rest.clear()

    def _keep(self, rest: bytes) -> None:
        self._rest = bytearray(rest)
        self._check_size(len(rest))
        self._extent = Extent()
        if self._extent.ends_in(self._rest):  # and yet it cannot be decoded
            raise _bad()

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise TooLargeError(f"A message of a stream has at most {self._limit} bytes.")


class Extent:
    """Finds where an item ends, in data that grows.

    What is malformed is said to end where it is found to be: the decoder tells why.
    """

    def __init__(self) -> None:
        self._at = 0
        self._wanted = [1]

    def ends_in(self, data: bytes | bytearray) -> bool:
        """Tell whether the item, which begins with the data, ends in it."""
        while self._wanted and self._at < len(data):
            first = data[self._at]
            major, info = first >> 5, first & 31
            head = 1 + _ARGUMENT_BYTES.get(info, 0)
            if self._at + head > len(data):
                return False
            argument = info if head == 1 else int.from_bytes(data[self._at + 1 : self._at + head])
            self._at += head
            if not self._took(major, info, argument):
                self._wanted.clear()
        return not self._wanted and self._at <= len(data)  # a string is jumped over

    def _took(self, major: int, info: int, argument: int) -> bool:
        """Take the head of an item, perhaps with a string; False where it is malformed."""
        indefinite = info == _INDEFINITE
        if major == _TAG or 27 < info < _INDEFINITE or (indefinite and major < 2):
            return False
        if indefinite and major == _SIMPLE:  # a break
            if self._wanted.pop() != _UNBOUNDED:
                return False
            self._close()
        elif indefinite or (major in _CONTAINERS and argument):
            if len(self._wanted) > MAX_DEPTH:
                return False
            self._wanted.append(_UNBOUNDED if indefinite else argument * (major - 3))
        else:
            if major in _STRINGS:
                self._at += argument
            self._close()
        return True

    def _close(self) -> None:
        """End an item, and with it those that it is the last one of."""
        while self._wanted:
            if self._wanted[-1] == _UNBOUNDED:
                return
            self._wanted[-1] -= 1
            if self._wanted[-1]:
                return
            self._wanted.pop()


def _message(item: object) -> Element:
    if not isinstance(item, dict):
        raise BadRequestError("An item of the stream is not a message: it is no map.")
    if ROOT in item:
        raise BadRequestError("An item of the stream is a message, without a document around it.")
    return item


def _bad() -> BadRequestError:
    return BadRequestError("An item of the stream is not CBOR, or has a tag or nests too deep.")
